package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
)

type orders struct {
	*deps
	db    *database
	queue *queue
}

func newOrders(_ context.Context, s settings, d *deps) (http.Handler, error) {
	db, err := openDatabase(s, `CREATE TABLE IF NOT EXISTS orders (id BIGINT PRIMARY KEY, item INT NOT NULL, amount INT NOT NULL, cents INT NOT NULL)`)
	if err != nil {
		return nil, err
	}
	if s.nats == "" {
		return nil, errors.New("--nats is needed")
	}
	q := &queue{address: s.nats, backing: queueOf("nats", "nats", s.nats)}
	d.closers = append(d.closers, db, q)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", orders{d, db, q}.place)
	return mux, nil
}

// place charges, writes the order, and announces it.
func (o orders) place(w http.ResponseWriter, r *http.Request) {
	var wanted order
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&wanted); err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "the order is not JSON: " + err.Error()})
		return
	}
	id, cents := rand.Int64(), 1900*max(1, wanted.Amount)
	body, err := json.Marshal(charge{Order: id, Cents: cents})
	if err != nil {
		o.fail(w, r, "charge failed", err)
		return
	}
	var receipt map[string]any
	if err := o.call(r.Context(), http.MethodPost, "http://payment/charges", bytes.NewReader(body), &receipt); err != nil {
		o.fail(w, r, "charge failed", err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), sqlTimeout)
	defer cancel()
	if err := o.write(ctx, id, wanted, cents); err != nil {
		o.fail(w, r, "the database did not take the order", err)
		return
	}
	if err := o.queue.publish(ctx, "orders.placed", body); err != nil {
		o.fail(w, r, "the queue did not take the order", err)
		return
	}
	o.log.InfoContext(r.Context(), "order placed", "order", id, "cents", cents, requestID(r.Context()))
	reply(w, http.StatusCreated, map[string]any{"order": id, "cents": cents, "payment": receipt["status"]})
}

func (o orders) write(ctx context.Context, id int64, wanted order, cents int) error {
	if err := o.db.prepared(ctx); err != nil {
		return err
	}
	return o.db.span(ctx, "INSERT orders", func(ctx context.Context) error {
		_, err := o.db.ExecContext(ctx, "INSERT INTO orders (id, item, amount, cents) VALUES (?, ?, ?, ?)", id, wanted.Item, wanted.Amount, cents)
		return err
	})
}

// queue is a JetStream stream that is connected to at the first order.
type queue struct {
	backing
	address string
	mu      sync.Mutex
	conn    *nats.Conn
	stream  jetstream.JetStream
}

// publish returns when the stream has stored the message.
func (q *queue) publish(ctx context.Context, subject string, body []byte) error {
	return q.span(ctx, "send "+subject, func(ctx context.Context) error {
		stream, err := q.connect(ctx)
		if err != nil {
			return err
		}
		_, err = stream.Publish(ctx, subject, body)
		return err
	}, attribute.String("messaging.destination.name", subject))
}

func (q *queue) connect(ctx context.Context) (jetstream.JetStream, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stream != nil {
		return q.stream, nil
	}
	conn, err := nats.Connect("nats://"+q.address, nats.Timeout(sqlTimeout), nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	stream, err := jetstream.New(conn)
	if err == nil {
		_, err = stream.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: "ORDERS", Subjects: []string{"orders.>"}, MaxBytes: 64 << 20, Discard: jetstream.DiscardOld,
		})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	q.conn, q.stream = conn, stream
	return stream, nil
}

func (q *queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.conn != nil {
		q.conn.Close()
	}
	return nil
}
