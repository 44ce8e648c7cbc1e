package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Integration is the name under which the outbox stands in the notification log.
const Integration = "webhook"

// Outbox stands in the pipeline where a receiver's client would: what it accepts is durable and will be sent.
type Outbox struct {
	ledger *Ledger
	nflog  *nflog.Log
}

// NewOutbox restores the notification log from the ledger. Entries live for retention at most.
func NewOutbox(ledger *Ledger, retention time.Duration, metrics prometheus.Registerer) (*Outbox, error) {
	log, err := nflog.New(nflog.Options{Retention: retention, Logger: ledger.log, Metrics: metrics})
	if err != nil {
		return nil, err
	}
	for _, entry := range ledger.logged() {
		if err := log.Merge(entry); err != nil {
			return nil, fmt.Errorf("notification log entry in the alert ledger: %w", err)
		}
	}
	return &Outbox{ledger: ledger, nflog: log}, nil
}

// Log is the pipeline's notification log. The pipeline writes it right after Notify; in memory only, since Notify has
// made the same entry durable with the notification.
func (o *Outbox) Log() *nflog.Log { return o.nflog }

// SendResolved makes the pipeline pass on that alerts ended.
func (o *Outbox) SendResolved() bool { return true }

// Notify makes one notification durable. An error is always worth another try.
func (o *Outbox) Notify(ctx context.Context, alerts ...*alert.Alert) (bool, error) {
	item, err := itemOf(ctx, alerts)
	if err != nil {
		return false, err
	}
	if item.Logged, err = logged(item); err != nil {
		return false, err
	}
	return true, o.ledger.enqueue(item)
}

func itemOf(ctx context.Context, alerts []*alert.Alert) (*Item, error) {
	item := &Item{Alerts: alerts}
	var have [7]bool
	item.GroupKey, have[0] = notify.GroupKey(ctx)
	item.GroupLabels, have[1] = notify.GroupLabels(ctx)
	item.Receiver, have[2] = notify.ReceiverName(ctx)
	item.RepeatInterval, have[3] = notify.RepeatInterval(ctx)
	item.Now, have[4] = notify.Now(ctx)
	item.Firing, have[5] = notify.FiringAlerts(ctx)
	item.Resolved, have[6] = notify.ResolvedAlerts(ctx)
	if have != [7]bool{true, true, true, true, true, true, true} {
		return nil, errors.New("notification without its group, receiver or time")
	}
	item.ID = identify(item)
	reason, _ := notify.NotificationReason(ctx)
	item.Reason = int(reason)
	return item, nil
}

// identify derives the idempotency key from what makes a notification this one: its group, its moment and whom it
// speaks of. A retry inside the pipeline therefore has the same.
func identify(item *Item) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00", item.Receiver, item.GroupKey, item.Now.UnixNano())
	for _, set := range [][]uint64{item.Firing, item.Resolved} {
		_ = binary.Write(h, binary.BigEndian, set)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// logged is the entry that nflog.Log will make of the same notification.
func logged(item *Item) (Stored, error) {
	expires := item.Now.Add(2 * item.RepeatInterval)
	entry := &nflogpb.MeshEntry{
		Entry: &nflogpb.Entry{
			Receiver:       &nflogpb.Receiver{GroupName: item.Receiver, Integration: Integration},
			GroupKey:       []byte(item.GroupKey),
			Timestamp:      timestamppb.New(item.Now),
			FiringAlerts:   item.Firing,
			ResolvedAlerts: item.Resolved,
		},
		ExpiresAt: timestamppb.New(expires),
	}
	var raw bytes.Buffer
	if _, err := protodelim.MarshalTo(&raw, entry); err != nil {
		return Stored{}, err
	}
	return Stored{Key: item.Receiver + ":" + item.GroupKey, Entry: raw.Bytes(), Expires: expires}, nil
}

type idempotencyKey struct{}

// IdempotencyKey is the key of the notification being sent, the same on every try.
func IdempotencyKey(ctx context.Context) string {
	key, _ := ctx.Value(idempotencyKey{}).(string)
	return key
}

// context rebuilds what the pipeline had put in its context when the notification was made.
func (item *Item) context(ctx context.Context) context.Context {
	ctx = notify.WithGroupKey(ctx, item.GroupKey)
	ctx = notify.WithGroupLabels(ctx, item.GroupLabels)
	ctx = notify.WithReceiverName(ctx, item.Receiver)
	ctx = notify.WithRepeatInterval(ctx, item.RepeatInterval)
	ctx = notify.WithNow(ctx, item.Now)
	ctx = notify.WithFiringAlerts(ctx, item.Firing)
	ctx = notify.WithResolvedAlerts(ctx, item.Resolved)
	ctx = notify.WithNotificationReason(ctx, notify.NotifyReason(item.Reason))
	return context.WithValue(ctx, idempotencyKey{}, item.ID)
}
