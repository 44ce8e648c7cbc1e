package otlp

// Resource is what a batch's items come from.
type Resource struct {
	Attrs     []Attr
	SchemaURL string
	Raw       []byte // every field of the Resource message that came
	deep      bool
}

// Text is the resource attribute as text; empty when it is absent or of another type.
func (r *Resource) Text(key string) string { return Find(r.Attrs, key).Text() }

// Scope is the instrumentation scope of items.
type Scope struct {
	Name, Version, SchemaURL string
	Attrs                    []Attr
	deep                     bool
}

var none Value

// Find is the value of the first attribute with this key; an empty one when there is none.
func Find(attrs []Attr, key string) *Value {
	for i := range attrs {
		if attrs[i].Key == key {
			return &attrs[i].Value
		}
	}
	return &none
}

// walk is the part of a walk that spans and log records share: three levels, of which the innermost is the item.
type walk struct {
	resource Resource
	scope    Scope
	item     func(raw []byte) error
}

// Field numbers that TracesData and LogsData share.
const (
	fieldResources  = 1 // in the batch
	fieldResource   = 1 // in ResourceSpans and ResourceLogs
	fieldScopes     = 2
	fieldSchemaURL  = 3
	fieldScope      = 1 // in ScopeSpans and ScopeLogs
	fieldItems      = 2
	fieldDeprecated = 1000 // where scopes were before OTLP 0.15; counts when there are no others
)

func (w *walk) batch(buf []byte) error {
	return each(buf, fieldResources, w.resourceItems)
}

// each calls fn with every message in the field id, in order.
func each(buf []byte, id int32, fn func([]byte) error) error {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return err
		}
		if f.id != id {
			continue
		}
		if err := f.is(bytesType); err != nil {
			return err
		}
		if err := fn(f.data); err != nil {
			return err
		}
	}
}

// resourceItems looks for the resource first: protobuf lets a sender put it behind what belongs to it.
func (w *walk) resourceItems(buf []byte) error {
	w.resource = Resource{Attrs: w.resource.Attrs[:0]}
	scopes, deprecated := false, false
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch f.id {
		case fieldResource:
			if err = f.is(bytesType); err == nil {
				err = w.resource.read(f.data)
			}
		case fieldScopes:
			err, scopes = f.is(bytesType), true
		case fieldSchemaURL:
			err = f.is(bytesType)
			w.resource.SchemaURL = view(f.data)
		case fieldDeprecated:
			err, deprecated = f.is(bytesType), true
		}
		if err != nil {
			return err
		}
	}
	id := int32(fieldScopes)
	if deprecated {
		if !scopes {
			id = fieldDeprecated
		} else if err := each(buf, fieldDeprecated, (&walk{item: func([]byte) error { return nil }}).scopeItems); err != nil {
			return err
		}
	}
	return each(buf, id, w.scopeItems)
}

func (w *walk) scopeItems(buf []byte) error {
	w.scope = Scope{Attrs: w.scope.Attrs[:0]}
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch f.id {
		case fieldScope:
			if err = f.is(bytesType); err == nil {
				err = w.scope.read(f.data)
			}
		case fieldSchemaURL:
			err = f.is(bytesType)
			w.scope.SchemaURL = view(f.data)
		}
		if err != nil {
			return err
		}
	}
	return each(buf, fieldItems, w.item)
}

func (r *Resource) read(buf []byte) error {
	if r.Raw == nil {
		r.Raw = buf
	} else {
		r.Raw = append(r.Raw[:len(r.Raw):len(r.Raw)], buf...) // two messages joined are one, in protobuf
	}
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return err
		}
		switch f.id {
		case 1:
			var deep bool
			if err = f.is(bytesType); err == nil {
				r.Attrs, deep, err = appendAttr(r.Attrs, f.data)
				r.deep = r.deep || deep
			}
		case 2:
			err = f.is(varint)
		case 3:
			if err = f.is(bytesType); err == nil {
				err = checkEntity(f.data)
			}
		}
		if err != nil {
			return err
		}
	}
}

// checkEntity reads an EntityRef, four fields of text, and forgets it.
func checkEntity(buf []byte) error {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return err
		}
		if f.id <= 4 {
			if err := f.is(bytesType); err != nil {
				return err
			}
		}
	}
}

func (s *Scope) read(buf []byte) error {
	c, f := cursor{buf: buf}, field{}
	for {
		ok, err := c.next(&f)
		if !ok || err != nil {
			return err
		}
		want := bytesType
		if f.id == 4 {
			want = varint
		}
		if f.id <= 4 {
			if err := f.is(want); err != nil {
				return err
			}
		}
		switch f.id {
		case 1:
			s.Name = view(f.data)
		case 2:
			s.Version = view(f.data)
		case 3:
			var deep bool
			if s.Attrs, deep, err = appendAttr(s.Attrs, f.data); err != nil {
				return err
			}
			s.deep = s.deep || deep
		}
	}
}
