package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// idleMemory holds the resident memory of each part of an idle system against its promise, and says the sum.
func idleMemory(t *testing.T, u *weftUp) {
	limits := map[string]int{"gateway": 40, "agent": 150, "collector": 350}
	var sum float64
	for _, p := range u.parts() {
		if p.PID == 0 {
			t.Errorf("%s is down", p.Name)
			continue
		}
		resident := residentMiB(t, p.PID)
		sum += resident
		limit, limited := limits[p.Name]
		if strings.HasPrefix(p.Name, "sidecar/") {
			limit, limited = 40, true
		}
		t.Logf("%-24s %6.1f MiB", p.Name, resident)
		if limited && resident > float64(limit) {
			within(t, 30*time.Second, fmt.Sprintf("%s is within %d MiB", p.Name, limit), func() error {
				if now := residentMiB(t, p.PID); now > float64(limit) {
					return fmt.Errorf("%.1f MiB", now)
				}
				return nil
			})
		}
	}
	t.Logf("%-24s %6.1f MiB", "sum", sum)
}

// residentMiB reads VmRSS of /proc/PID/status.
func residentMiB(t *testing.T, pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(raw), "\n") {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	t.Fatalf("no VmRSS of %d", pid)
	return 0
}
