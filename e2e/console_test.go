package e2e

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// consoleShows opens a request's page in real Chromium by typing its ID into the search box, and keeps a picture.
func consoleShows(t *testing.T, u *weftUp) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	_, id, err := u.send(http.MethodPost, "/api/checkout")
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "whole", func() error { return whole(u, id) })

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.WindowSize(1440, 1000))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	defer cancel()

	if err := chromedp.Do(ctx,
		chromedp.Navigate(u.api+"/"),
		chromedp.SendKeys(chromedp.CSS(`input[type="search"]`), id+"\r", chromedp.NodeVisible),
		chromedp.WaitVisible(chromedp.CSS(`ol.spans button.name`)),
	); err != nil {
		t.Fatal(err)
	}
	text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("main")))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	keep(t, "request.png", picture)
	for _, want := range []string{id, "storefront", "orders", "payment"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of request %s does not show %q", id, want)
		}
	}
}

// keep writes a picture to $WEFT_SCREENSHOTS, where a person can look at it.
func keep(t *testing.T, name string, picture []byte) {
	folder := os.Getenv("WEFT_SCREENSHOTS")
	if folder == "" {
		folder = filepath.Join("..", "bin", "screenshots")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
