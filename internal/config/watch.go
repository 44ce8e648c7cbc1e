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
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	last := digest(path)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			last = digest(path)
			reload()
		case <-look.C:
			if now := digest(path); now != last && now != ([32]byte{}) {
				last = now
				reload()
			}
		}
	}
}

// digest is zero for a file that cannot be read: a writer may be between unlink and rename.
func digest(path string) [32]byte {
	raw, err := os.ReadFile(path)
	if err != nil {
		return [32]byte{}
	}
	return sha256.Sum256(raw)
}
