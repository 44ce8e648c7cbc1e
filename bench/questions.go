package bench

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"weft/bench/check"
	"weft/bench/load"
)

// questioner asks for requests of a sender's list, and for some that nobody sent.
type questioner struct {
	api     *check.API
	model   *load.Model
	entries []load.Acknowledged // batches of spans
	random  *rand.Rand
}

func newQuestioner(api *check.API, m *load.Model, ledger *load.Ledger) *questioner {
	q := &questioner{api: api, model: m, random: rand.New(rand.NewPCG(m.Seed, 1))}
	for _, a := range ledger.Entries() {
		if a.Signal == load.Spans {
			q.entries = append(q.entries, a)
		}
	}
	return q
}

// question is an ID with how many spans must be found by it; 0: none.
type question struct {
	id    string
	spans int
}

// kind is one way to ask.
type kind struct {
	name string
	next func(q *questioner) question
}

var kinds = []kind{
	{"by trace ID", func(q *questioner) question { trace, _, spans := q.known(); return question{trace, spans} }},
	{"by request ID", func(q *questioner) question { _, request, spans := q.known(); return question{request, spans} }},
	{"unknown trace ID", func(q *questioner) question { return question{q.hex(16), 0} }},
	{"unknown request ID", func(q *questioner) question { return question{"req-" + q.hex(12), 0} }},
}

// known is any acknowledged trace, all alike.
func (q *questioner) known() (trace, request string, spans int) {
	a := q.entries[q.random.IntN(len(q.entries))]
	trace, request = q.model.IDs(a.First + q.random.Uint64N(uint64(a.Traces)))
	return trace, request, int(a.To - a.From)
}

func (q *questioner) hex(n int) string {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(q.random.Uint32())
	}
	return hex.EncodeToString(raw)
}

// ask asks n questions of each kind, in turn, one after the other.
func (q *questioner) ask(ctx context.Context, n int, prefix string, kinds ...kind) ([]distribution, error) {
	out := make([]distribution, len(kinds))
	for i := range kinds {
		out[i].name = prefix + kinds[i].name
	}
	for range n {
		for i := range kinds {
			if err := q.one(ctx, &out[i], kinds[i].next(q)); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

func (q *questioner) one(ctx context.Context, d *distribution, want question) error {
	answer, err := q.api.Ask(ctx, want.id)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		d.add(answer.Took, answer.Store)
		err = judge(answer, want)
	}
	if err != nil {
		d.wrong++
		d.example = fmt.Sprintf("%s: %v", want.id, err)
	}
	return nil
}

// judge says what is wrong with an answer.
func judge(answer check.Answer, want question) error {
	if want.spans == 0 {
		if answer.Status != http.StatusNotFound {
			return fmt.Errorf("%d for an ID that nobody sent", answer.Status)
		}
		return nil
	}
	var story check.Story
	if answer.Status != http.StatusOK {
		return fmt.Errorf("%d: %.200s", answer.Status, answer.Body)
	}
	if err := json.Unmarshal(answer.Body, &story); err != nil {
		return err
	}
	if len(story.Spans) < want.spans || len(story.Incomplete) > 0 {
		return fmt.Errorf("%d spans of %d, incomplete: %v", len(story.Spans), want.spans, story.Incomplete)
	}
	return nil
}

const (
	lookAgain   = 5 * time.Millisecond
	betweenAcks = 200 * time.Millisecond
)

// findable measures how long it takes from an acknowledgement until the batch's last trace is found whole, until ctx
// ends.
func findable(ctx context.Context, api *check.API, sender *load.Sender) distribution {
	d := distribution{name: "found after acknowledgement"}
	for {
		var a load.Acknowledged
		select {
		case <-ctx.Done():
			return d
		case a = <-sender.Ledger.Fresh():
		}
		if a.Signal != load.Spans {
			continue
		}
		id, _ := sender.Model.IDs(a.First + uint64(a.Traces) - 1)
		want := question{id, int(a.To - a.From)}
		for {
			answer, err := api.Ask(ctx, want.id)
			if ctx.Err() != nil {
				return d
			}
			if err == nil && judge(answer, want) == nil {
				d.add(time.Duration(time.Now().UnixNano()-a.At), 0)
				break
			}
			time.Sleep(lookAgain)
		}
		select {
		case <-ctx.Done():
			return d
		case <-time.After(betweenAcks):
		}
	}
}
