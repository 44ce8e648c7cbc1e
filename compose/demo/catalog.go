package demo

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strconv"
)

type catalog struct {
	*deps
	db *database
}

// item is one thing on sale.
type item struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

func newCatalog(_ context.Context, s settings, d *deps) (http.Handler, error) {
	db, err := openDatabase(s, `CREATE TABLE IF NOT EXISTS items (id INT PRIMARY KEY, name VARCHAR(80) NOT NULL, cents INT NOT NULL)`,
		`INSERT INTO items (id, name, cents) SELECT * FROM (
			SELECT 1 AS id, 'Linen, undyed' AS name, 1900 AS cents UNION ALL SELECT 2, 'Wool, indigo', 3400 UNION ALL
			SELECT 3, 'Silk, madder red', 8900 UNION ALL SELECT 4, 'Shuttle, pear wood', 2700 UNION ALL SELECT 5, 'Heddle, steel', 900
		) AS stock WHERE NOT EXISTS (SELECT 1 FROM items)`)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, db)
	c := catalog{d, db}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items", c.list)
	mux.HandleFunc("GET /items/{id}", c.one)
	return mux, nil
}

func (c catalog) list(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), sqlTimeout)
	defer cancel()
	items, err := c.items(ctx)
	if err != nil {
		c.fail(w, r, "the database did not answer", err)
		return
	}
	c.log.InfoContext(r.Context(), "listed items", "count", len(items), requestID(r.Context()))
	reply(w, http.StatusOK, items)
}

func (c catalog) items(ctx context.Context) ([]item, error) {
	if err := c.db.prepared(ctx); err != nil {
		return nil, err
	}
	var items []item
	err := c.db.span(ctx, "SELECT items", func(ctx context.Context) error {
		rows, err := c.db.QueryContext(ctx, "SELECT id, name, cents FROM items ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var i item
			if err := rows.Scan(&i.ID, &i.Name, &i.Cents); err != nil {
				return err
			}
			items = append(items, i)
		}
		return rows.Err()
	})
	return items, err
}

func (c catalog) one(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), sqlTimeout)
	defer cancel()
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		reply(w, http.StatusNotFound, map[string]string{"error": "no such item"})
		return
	}
	if err := c.db.prepared(ctx); err != nil {
		c.fail(w, r, "the database did not answer", err)
		return
	}
	found, known, err := c.item(ctx, id)
	switch {
	case err == nil && !known:
		c.log.WarnContext(r.Context(), "no such item", "item", id, requestID(r.Context()))
		reply(w, http.StatusNotFound, map[string]string{"error": "no such item"})
	case err != nil:
		c.fail(w, r, "the database did not answer", err)
	default:
		c.log.InfoContext(r.Context(), "served item", "item", id, requestID(r.Context()))
		reply(w, http.StatusOK, found)
	}
}

func (c catalog) item(ctx context.Context, id int) (found item, known bool, err error) {
	found.ID = id
	err = c.db.span(ctx, "SELECT items", func(ctx context.Context) error {
		err := c.db.QueryRowContext(ctx, "SELECT name, cents FROM items WHERE id = ?", id).Scan(&found.Name, &found.Cents)
		known = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return found, known, err
}
