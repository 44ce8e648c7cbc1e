package delivery

import "testing"

func FuzzRejectedItems(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0x02, 0x08, 0x05})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if n := rejectedItems(answer); n < 0 {
			t.Fatalf("%d rejected", n)
		}
	})
}

func TestRejectedItems(t *testing.T) {
	if n := rejectedItems([]byte{0x0a, 0x02, 0x08, 0x05}); n != 5 {
		t.Fatalf("%d, want 5", n)
	}
}
