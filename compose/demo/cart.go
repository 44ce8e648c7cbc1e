package demo

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// carts is where the cart service keeps them: how many of each item a visitor has.
type carts interface {
	get(ctx context.Context, visitor string) (map[string]string, error)
	add(ctx context.Context, visitor, item string, amount int64) error
	Close() error
}

type cart struct {
	*deps
	carts carts
}

func newCart(_ context.Context, s settings, d *deps) (http.Handler, error) {
	c := cart{d, &memoryCarts{carts: map[string]map[string]int64{}}}
	if s.redis != "" {
		c.carts = redisCarts{redis.NewClient(&redis.Options{
			Addr: s.redis, DialTimeout: sqlTimeout, ReadTimeout: sqlTimeout, WriteTimeout: sqlTimeout, MaxRetries: -1, DisableIdentity: true,
		}), databaseOf("redis", "redis", s.redis)}
	}
	d.closers = append(d.closers, c.carts)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /carts/{visitor}", c.show)
	mux.HandleFunc("POST /carts/{visitor}/{item}", c.put)
	return mux, nil
}

func (c cart) show(w http.ResponseWriter, r *http.Request) {
	contents, err := c.carts.get(r.Context(), r.PathValue("visitor"))
	if err != nil {
		c.fail(w, r, "the cache did not answer", err)
		return
	}
	c.log.InfoContext(r.Context(), "showed a cart", "items", len(contents), requestID(r.Context()))
	reply(w, http.StatusOK, contents)
}

func (c cart) put(w http.ResponseWriter, r *http.Request) {
	if err := c.carts.add(r.Context(), r.PathValue("visitor"), r.PathValue("item"), 1); err != nil {
		c.fail(w, r, "the cache did not answer", err)
		return
	}
	c.log.InfoContext(r.Context(), "put into a cart", "item", r.PathValue("item"), requestID(r.Context()))
	reply(w, http.StatusOK, map[string]string{"status": "added"})
}

const cartLife = 24 * time.Hour

type redisCarts struct {
	*redis.Client
	backing
}

func (c redisCarts) get(ctx context.Context, visitor string) (contents map[string]string, err error) {
	err = c.span(ctx, "HGETALL cart", func(ctx context.Context) (err error) {
		contents, err = c.HGetAll(ctx, "cart:"+visitor).Result()
		return err
	})
	return contents, err
}

func (c redisCarts) add(ctx context.Context, visitor, item string, amount int64) error {
	return c.span(ctx, "HINCRBY cart", func(ctx context.Context) error {
		if err := c.HIncrBy(ctx, "cart:"+visitor, item, amount).Err(); err != nil {
			return err
		}
		return c.Expire(ctx, "cart:"+visitor, cartLife).Err()
	})
}

// memoryCarts stands in for the cache where redis-server is not installed.
type memoryCarts struct {
	mu    sync.Mutex
	carts map[string]map[string]int64
}

// maxCarts bounds the stand-in; a cache may forget.
const maxCarts = 10_000

func (c *memoryCarts) get(_ context.Context, visitor string) (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]string{}
	for item, amount := range c.carts[visitor] {
		out[item] = strconv.FormatInt(amount, 10)
	}
	return out, nil
}

func (c *memoryCarts) add(_ context.Context, visitor, item string, amount int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carts[visitor] == nil {
		if len(c.carts) >= maxCarts {
			clear(c.carts)
		}
		c.carts[visitor] = map[string]int64{}
	}
	c.carts[visitor][item] += amount
	return nil
}

func (c *memoryCarts) Close() error { return nil }
