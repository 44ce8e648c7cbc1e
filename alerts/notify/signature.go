package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Headers of a webhook call.
const (
	HeaderIdempotencyKey = "Idempotency-Key"
	// HeaderSignature is "t=<Unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">". The time is under the signature, so
	// that a recorded call cannot be played again later.
	HeaderSignature = "X-Weft-Signature"
)

// Sign makes the signature header for a body sent now.
func Sign(secret string, body []byte, now time.Time) string {
	t := strconv.FormatInt(now.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

func mac(secret, t string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(t))
	h.Write([]byte("."))
	h.Write(body)
	return h.Sum(nil)
}

// Tolerance is how far the clocks of sender and receiver may be apart, the time on the way included.
const Tolerance = 5 * time.Minute

// Verify checks a signature header as a receiver should: the HMAC, and that the call is at most Tolerance old.
func Verify(secret, header string, body []byte, now time.Time) error {
	var t, v1 string
	for part := range strings.SplitSeq(header, ",") {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "t":
			t = value
		case "v1":
			v1 = value
		}
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return fmt.Errorf("%s: no time in %q", HeaderSignature, header)
	}
	given, err := hex.DecodeString(v1)
	if err != nil || !hmac.Equal(given, mac(secret, t, body)) {
		return errors.New(HeaderSignature + ": does not match the body")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > Tolerance {
		return fmt.Errorf("%s: made %s ago, more than %s", HeaderSignature, age.Round(time.Second), Tolerance)
	}
	return nil
}
