package storeextension

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"

	"weft/collector/store"
)

func start(t *testing.T, k *Keeper, dir string) (*Extension, error) {
	t.Helper()
	cfg := defaultConfig().(*Config)
	cfg.Dir = dir
	ext, err := k.Factory().Create(t.Context(), extensiontest.NewNopSettings(k.Factory().Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ext.Shutdown(context.Background()) })
	return ext.(*Extension), ext.Start(t.Context(), componenttest.NewNopHost())
}

func TestStoresOutliveTheExtension(t *testing.T) {
	k := NewKeeper()
	dir := t.TempDir()
	first, err := start(t, k, dir)
	if err != nil {
		t.Fatal(err)
	}
	opened := first.Stores()
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := start(t, k, dir)
	if err != nil {
		t.Fatal(err)
	}
	if second.Stores() != opened {
		t.Error("a reload opened the stores again")
	}
	if _, err := start(t, NewKeeper(), dir); err == nil {
		t.Error("another process opened them too")
	}
	elsewhere, err := start(t, k, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if elsewhere.Stores() == opened {
		t.Error("another folder, the same stores")
	}
	if again, err := start(t, NewKeeper(), dir); err != nil {
		t.Errorf("the old folder is still locked: %v", err)
	} else if err := again.keeper.Close(); err != nil {
		t.Error(err)
	}
	for range 2 { // closing twice is closing once
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnUnusableFolderIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := start(t, NewKeeper(), filepath.Join(file, "store"))
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("got %v", err)
	}
}

func TestConfigIsTheStores(t *testing.T) {
	cfg := defaultConfig().(*Config)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.ReservePercent = 100
	if want := store.Config(*cfg).Validate(); cfg.Validate() == nil || cfg.Validate().Error() != want.Error() {
		t.Errorf("got %v, want %v", cfg.Validate(), want)
	}
}
