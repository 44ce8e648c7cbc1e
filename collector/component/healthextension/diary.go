package healthextension

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"weft/collector/store"
	"weft/internal/sample"
	"weft/internal/semconv"
)

// logs is what keeps the records: the store of log records. An append that returns nil is durable.
type logs interface {
	Append(context.Context, plog.Logs) error
}

// findLogs returns a way to the log store, or nil where no extension has one. It is looked up anew for each append: the
// stores are opened by an extension that may start later than this one.
func findLogs(host component.Host) logs {
	for _, ext := range host.GetExtensions() {
		if owner, ok := ext.(interface{ Stores() *store.Set }); ok {
			return lateLogs(owner.Stores)
		}
	}
	return nil
}

type lateLogs func() *store.Set

var errNotOpen = errors.New("the stores are not open")

func (l lateLogs) Append(ctx context.Context, batch plog.Logs) error {
	set := l()
	if set == nil {
		return errNotOpen
	}
	return set.Logs.Append(ctx, batch)
}

const (
	// maxPending bounds the records that wait while the store is full or away: hours of flapping. The oldest go first.
	maxPending = 1024
	// storeAgain is the pause after a refused append.
	storeAgain = time.Second
	// lastWords is the time to store what is left when a writer stops.
	lastWords = time.Second
)

// diary turns every change of a verdict into a log record, and keeps it until a writer has stored it. It lives as long as
// its judge; writers come and go with each reload.
type diary struct {
	instance        string
	stored, dropped atomic.Uint64

	mu      sync.Mutex
	pending []plog.Logs
	bell    chan struct{} // has an element when there may be something to store
}

func newDiary(instance string) *diary {
	return &diary{instance: instance, bell: make(chan struct{}, 1)}
}

// add never blocks: no verdict waits for a disk.
func (d *diary) add(v sample.Verdict, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == maxPending {
		d.pending = d.pending[1:]
		d.dropped.Add(1)
	}
	d.pending = append(d.pending, record(d.instance, v, now))
	ring(d.bell)
}

func (d *diary) oldest() (plog.Logs, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 {
		return plog.Logs{}, false
	}
	return d.pending[0], true
}

// done takes a record off the list, unless it has been dropped meanwhile.
func (d *diary) done(batch plog.Logs) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stored.Add(1)
	if len(d.pending) > 0 && d.pending[0] == batch {
		d.pending = d.pending[1:]
	}
}

// writer stores what the diary holds.
type writer struct {
	cancel context.CancelFunc
	home   chan struct{}
}

// writeTo stores records until the writer is stopped.
func (d *diary) writeTo(logs logs, log *zap.Logger) *writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{cancel, make(chan struct{})}
	go func() {
		defer close(w.home)
		d.write(ctx, logs, log)
	}()
	return w
}

func (w *writer) stop() {
	w.cancel()
	<-w.home
}

func (d *diary) write(ctx context.Context, logs logs, log *zap.Logger) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			_ = d.writeAll(last, logs) // what is refused waits for the next writer
			return
		case <-d.bell:
		case <-again.C: // also at once: an earlier writer may have left something
		}
		if err := d.writeAll(ctx, logs); err != nil && ctx.Err() == nil {
			log.Warn("record of a verdict not stored yet", zap.Error(err))
			again.Reset(storeAgain)
		}
	}
}

// writeAll returns at the first record that is refused: they are stored in order.
func (d *diary) writeAll(ctx context.Context, logs logs) error {
	for {
		batch, found := d.oldest()
		if !found {
			return nil
		}
		if err := logs.Append(ctx, batch); err != nil {
			return err
		}
		d.done(batch)
	}
}

// Names of a verdict's record, beside those of semconv.
const (
	recordService = "collector"
	recordScope   = "weft/health"
	recordEvent   = "weft.verdict"
)

// record is a change as a log record: the sentence for a person is the body, what it rests on are attributes.
func record(instance string, v sample.Verdict, now time.Time) plog.Logs {
	batch := plog.NewLogs()
	from := batch.ResourceLogs().AppendEmpty()
	from.Resource().Attributes().PutStr(semconv.ServiceName, recordService)
	from.Resource().Attributes().PutStr(semconv.ServiceInstanceID, instance)
	scope := from.ScopeLogs().AppendEmpty()
	scope.Scope().SetName(recordScope)
	r := scope.LogRecords().AppendEmpty()
	r.SetEventName(recordEvent)
	r.SetTimestamp(pcommon.NewTimestampFromTime(now))
	r.SetObservedTimestamp(pcommon.NewTimestampFromTime(now))
	r.SetSeverityNumber(plog.SeverityNumberInfo)
	if v.State == sample.Ejected || v.State == sample.Degraded {
		r.SetSeverityNumber(plog.SeverityNumberWarn)
	}
	r.SetSeverityText(map[plog.SeverityNumber]string{plog.SeverityNumberInfo: "INFO", plog.SeverityNumberWarn: "WARN"}[r.SeverityNumber()])
	r.Body().SetStr(v.Endpoint.String() + " is " + v.State.String() + ": " + v.Reason)
	describe(r.Attributes(), v)
	return batch
}

func describe(to pcommon.Map, v sample.Verdict) {
	to.PutStr(semconv.WeftService, v.Endpoint.Service)
	to.PutStr(semconv.WeftEndpoint, v.Endpoint.Instance)
	to.PutStr(semconv.WeftAddress, v.Address)
	to.PutInt(semconv.WeftWeight, int64(v.Weight))
	to.PutInt(semconv.WeftVerdictVersion, int64(v.Version))
	to.PutStr(semconv.WeftVerdictState, v.State.String())
	to.PutStr(semconv.WeftVerdictSince, v.Since.UTC().Format(time.RFC3339Nano))
	to.PutBool(semconv.WeftVerdictEnforced, v.Enforced)
	e := v.Evidence
	to.PutStr(semconv.WeftEvidencePrefix+"test", e.Test)
	to.PutInt(semconv.WeftEvidencePrefix+"attempts", int64(e.Attempts))
	to.PutInt(semconv.WeftEvidencePrefix+"failures", int64(e.Failures))
	to.PutDouble(semconv.WeftEvidencePrefix+"error_ratio", e.ErrorRatio)
	to.PutDouble(semconv.WeftEvidencePrefix+"baseline_error_ratio", e.BaselineErrorRatio)
	to.PutDouble(semconv.WeftEvidencePrefix+"p99", e.P99.Seconds())
	to.PutDouble(semconv.WeftEvidencePrefix+"rest_p99", e.RestP99.Seconds())
	to.PutDouble(semconv.WeftEvidencePrefix+"window", e.Window.Seconds())
	for name, values := range map[string][]string{"reporters": e.Reporters, "witnesses": e.Witnesses, "request_ids": e.RequestIDs} {
		list := to.PutEmptySlice(semconv.WeftEvidencePrefix + name)
		for _, value := range values {
			list.AppendEmpty().SetStr(value)
		}
	}
}
