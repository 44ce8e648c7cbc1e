package console

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestHandler(t *testing.T) {
	server := httptest.NewServer(Handler())
	defer server.Close()
	for _, tc := range []struct {
		path, mediaType, contains string
		status                    int
	}{
		{"/", "text/html; charset=utf-8", `src="/assets/console.js"`, 200},
		{"/requests/4bf9", "text/html; charset=utf-8", `src="/assets/console.js"`, 200},
		{"/endpoints/payment/payment-2", "text/html; charset=utf-8", "<main", 200},
		{"/assets/console.js", "text/javascript; charset=utf-8", "waterfall", 200},
		{"/assets/style.css", "text/css; charset=utf-8", "--linen", 200},
		{"/assets/none.js", "text/plain; charset=utf-8", "not found", 404},
	} {
		resp, err := http.Get(server.URL + tc.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.status || resp.Header.Get("Content-Type") != tc.mediaType || !strings.Contains(string(body), tc.contains) {
			t.Errorf("%s: %d %s", tc.path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if tc.status == 200 && resp.Header.Get("Content-Security-Policy") != Policy {
			t.Errorf("%s: no policy", tc.path)
		}
	}
	resp, err := http.Post(server.URL+"/", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func browse(t *testing.T, f *fixture) (ctx context.Context, base string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	server := httptest.NewServer(f.handler())
	t.Cleanup(server.Close)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1440, 900))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("exception in the page: %+v", e.ExceptionDetails)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError {
				t.Errorf("console error: %+v", e.Args)
			}
		}
	}))
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(stop)
	return ctx, server.URL
}

type step = chromedp.Action[chromedp.Void]

func run(t *testing.T, ctx context.Context, steps ...step) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		_ = chromedp.Do(ctx, shot(t, "failed"))
		t.Fatal(err)
	}
}

func ask[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sees waits until the page shows each text.
func sees(texts ...string) step {
	var steps []step
	for _, text := range texts {
		steps = append(steps, until(`document.body.innerText.toLowerCase().includes(`+quote(strings.ToLower(text))+`)`))
	}
	return chromedp.Steps(steps...)
}

func until(expression string) step { return chromedp.Poll[chromedp.Void](expression) }

func quote(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`", "${", "\\${").Replace(s) + "`"
}

// shot keeps a screenshot in WEFT_SCREENSHOTS, when it names a folder.
func shot(t *testing.T, name string) step {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		dir := os.Getenv("WEFT_SCREENSHOTS")
		if dir == "" {
			return nil
		}
		png, err := chromedp.CaptureScreenshot()(ctx, target)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	})
}

func TestConsoleInARealBrowser(t *testing.T) {
	ctx, base := browse(t, &fixture{began: time.Now()})
	run(t, ctx, chromedp.Navigate(base+"/"), sees("payment", "1 alert firing", "ejected", "callers across"), shot(t, "services"))

	// The keyboard: j to the first row (the worst service first), Enter opens it.
	run(t, ctx, chromedp.KeyEvent("j"))
	if at := ask[string](t, ctx, `document.activeElement.textContent`); at != "payment" {
		t.Errorf("j went to %q, want payment", at)
	}
	run(t, ctx, chromedp.KeyEvent(kb.Enter), sees("its requests", "payment-2"), shot(t, "service"))
	run(t, ctx, chromedp.Click(chromedp.CSS(`tbody a.endpoint[href="/endpoints/payment/payment-2"]`)), sees("decided by", "sequential", "reported by", "orders/orders-3", "verdict 171"), shot(t, "endpoint"))

	// Requests: the filter is in the address.
	run(t, ctx, chromedp.KeyEvent("g"), chromedp.KeyEvent("r"), sees("newest first", "/api/checkout"), shot(t, "requests"),
		chromedp.SendKeys(chromedp.CSS(`#f-status`), "502"+kb.Enter), sees("502"),
		until(`[...document.querySelectorAll("td .status")].every(x => x.textContent === "502")`))
	if path := ask[string](t, ctx, `location.href`); !strings.HasSuffix(path, "/requests?status=502") {
		t.Errorf("address %q", path)
	}

	// Any ID, typed into the search box, opens the request; the waterfall has the logs merged in.
	run(t, ctx, chromedp.Blur(chromedp.CSS(`#f-status`)), chromedp.KeyEvent("/"), chromedp.SendKeys(chromedp.CSS(`#search`), "checkout-from-the-app"+kb.Enter),
		sees("dropped traceparent", "checkout begins", "charge failed", "another one, after a failed try", "v168"), shot(t, "request"))
	run(t, ctx, chromedp.Click(chromedp.CSS(`button[data-key="e2"]`)), sees("ProcessorError", "connection reset"))
	if title := ask[string](t, ctx, `document.title`); !strings.HasPrefix(title, "checkout-from-the-app") {
		t.Errorf("title %q: telemetry ran as a script, or the page is another", title)
	}
	if ask[int](t, ctx, `document.querySelectorAll("main img").length`) != 0 {
		t.Error("telemetry became an element")
	}

	run(t, ctx, chromedp.Navigate(base+"/alerts"), sees("firing", "dead letters", "not accepted yet", "receiver answered 404",
		"the collector's store refuses what it is sent", "it takes what it is sent again"), shot(t, "alerts"))
	run(t, ctx, chromedp.Click(chromedp.CSS(`.alert h3 a[href="/runbooks/StoreRefuses"]`)), sees("restarting is not needed"),
		chromedp.Navigate(base+"/alerts"), sees("firing"))
	run(t, ctx, chromedp.Click(chromedp.CSS(`.alert a[href="/runbooks/EndpointUnhealthy"]`)), sees("open one of the example requests"),
		chromedp.KeyEvent("?"), chromedp.WaitVisible(chromedp.CSS(`dialog[open]`)), shot(t, "help"))
	run(t, ctx, chromedp.Navigate(base+"/requests/none-of-these"), sees("no request by this id", "asking again"),
		chromedp.Navigate(base+"/nowhere/at/all"), sees("there is no such page"))
}

func TestConsoleOnAPhoneInTheDark(t *testing.T) {
	ctx, base := browse(t, &fixture{began: time.Now()})
	dark := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, dark); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, text string }{
		{"services", "/", "callers across"}, {"requests", "/requests", "newest first"}, {"request", "/requests/" + requestID, "checkout begins"},
		{"alerts", "/alerts", "dead letters"}, {"endpoint", "/endpoints/payment/payment-2", "decided by"}, {"service", "/services/payment", "its requests"},
	} {
		run(t, ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate(base+tc.path), sees(tc.text), shot(t, "phone-"+tc.name))
		if wider := ask[int](t, ctx, `document.documentElement.scrollWidth - 390`); wider > 0 {
			t.Errorf("%s is %d px wider than a phone", tc.path, wider)
		}
		run(t, ctx, chromedp.EmulateViewport(1440, 1000), shot(t, "dark-"+tc.name))
	}
}

func TestConsoleBeforeAnythingHappened(t *testing.T) {
	ctx, base := browse(t, &fixture{began: time.Now(), quiet: true})
	run(t, ctx, chromedp.Navigate(base+"/"), sees("no service has been seen yet"), chromedp.Navigate(base+"/alerts"), sees("nothing needs you"))
}
