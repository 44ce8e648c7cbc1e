package config

import (
	"context"
	"crypto/sha256"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Watch calls reload on SIGHUP, and when the content of the file at path changes (looked at once a second, which also
// works where notifications do not: bind mounts, ConfigMap symlinks). It blocks until ctx ends.
func Watch(ctx context.Context, path string, reload func()) error {
	return WatchSince(ctx, path, Digest(path), reload)
}

// WatchSince is Watch for a file that had the digest last when it was loaded, so that a change between loading and
// watching is not missed.
func WatchSince(ctx context.Context, path string, last [32]byte, reload func()) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			last = Digest(path)
			reload()
		case <-look.C:
			if now := Digest(path); now != last && now != ([32]byte{}) {
				last = now
				reload()
			}
		}
	}
}

// Digest is that of the file's content; zero for a file that cannot be read: a writer may be between unlink and rename.
func Digest(path string) [32]byte {
	raw, err := os.ReadFile(path)
	if err != nil {
		return [32]byte{}
	}
	return sha256.Sum256(raw)
}
