// Package story prints the collector's answers for a person at a terminal.
package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options are how an answer is printed.
type Options struct {
	JSON   bool // the collector's answer as it is, indented
	Colour bool // Terminal decides it for a writer
	Width  int  // columns; 0 = 100
}

// patience bounds one question; most bounds an answer.
const (
	patience = 15 * time.Second
	most     = 64 << 20
)

// ask puts a question to the collector and decodes its answer; the raw answer is for --json. base is the collector's
// URL without a path.
func ask(ctx context.Context, base, path string, into any) (raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil {
		return nil, fmt.Errorf("collector %s: %w", base, err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the address is said once
		}
		return nil, fmt.Errorf("the collector at %s does not answer: %w", base, err)
	}
	defer response.Body.Close()
	if raw, err = io.ReadAll(io.LimitReader(response.Body, most+1)); err != nil {
		return nil, fmt.Errorf("collector %s: %w", base, err)
	}
	if len(raw) > most {
		return nil, fmt.Errorf("collector %s: its answer exceeds %d MiB", base, most>>20)
	}
	if response.StatusCode != http.StatusOK {
		return nil, refusal(base, response.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, fmt.Errorf("collector %s: not the answer of Weft's collector: %w", base, err)
	}
	return raw, nil
}

// errUnknown is what is asked for and not there.
var errUnknown = errors.New("not found")

func refusal(base string, status int, body []byte) error {
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Title == "" {
		return fmt.Errorf("collector %s answered %d", base, status)
	}
	text := clean(problem.Detail)
	if status == http.StatusNotFound {
		return unknown(text)
	}
	return fmt.Errorf("collector %s answered %d: %s", base, status, text)
}

// unknown is errUnknown in words of its own.
type unknown string

func (u unknown) Error() string        { return string(u) }
func (u unknown) Is(target error) bool { return target == errUnknown }

// printJSON indents the answer. Characters that steer a terminal stay escaped.
func printJSON(w io.Writer, raw []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	text := strings.ToValidUTF8(out.String(), "�")
	var safe strings.Builder
	for _, r := range text {
		if r != '\n' && steers(r) {
			fmt.Fprintf(&safe, `\u%04x`, r)
			continue
		}
		safe.WriteRune(r)
	}
	_, err := io.WriteString(w, safe.String())
	return err
}
