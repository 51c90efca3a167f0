package durable

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Codec turns arguments and results into bytes and back. Its functions are
// called by several goroutines, and must not keep or change the bytes they are
// given. Unmarshal gets a pointer.
type Codec struct {
	Marshal   func(v any) ([]byte, error)
	Unmarshal func(data []byte, v any) error
}

// JSON is the codec of a queue that has no other.
var JSON = Codec{Marshal: json.Marshal, Unmarshal: json.Unmarshal}

// coder encodes and decodes values of one type.
type coder[T any] struct {
	Codec
	known bool       // check is all that encode has to look at
	check *jsonCheck // of the values, if known
	flat  bool       // a copy of a value shares nothing with it that can change, and is what decode returns
}

func newCoder[T any](c Codec) coder[T] {
	own := coder[T]{Codec: c}
	if reflect.ValueOf(c.Marshal).Pointer() == reflect.ValueOf(json.Marshal).Pointer() &&
		reflect.ValueOf(c.Unmarshal).Pointer() == reflect.ValueOf(json.Unmarshal).Pointer() {
		own.check, own.known = jsonCheckOf(reflect.TypeFor[T]())
		own.flat = own.known && isFlat(reflect.TypeFor[T]())
	}
	return own
}

// encode returns v as bytes, and an error that is ErrNotKept if what they are
// decoded to would not be v.
func (c *coder[T]) encode(v *T) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			data, err = nil, fmt.Errorf("%w: panic while it is written: %v", ErrNotKept, p)
		}
	}()
	if c.known && c.check.passes(reflect.ValueOf(v).Elem()) {
		return c.write(v)
	}
	return c.encodeAndRead(v)
}

// write returns v as bytes.
func (c *coder[T]) write(v any) ([]byte, error) {
	data, err := c.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	if len(data) > maxValue {
		return nil, fmt.Errorf("%w: %d bytes, and at most %d can be kept", ErrNotKept, len(data), maxValue)
	}
	return data, nil
}

// maxValue is how many bytes an argument or a result may have. A row of SQLite
// has at most 1,000,000,000.
const maxValue = 900_000_000

// encodeAndRead is encode that reads what was written.
func (c *coder[T]) encodeAndRead(v *T) (data []byte, err error) {
	if data, err = c.write(*v); err != nil {
		return nil, err
	}
	var back T
	if err := c.Unmarshal(data, &back); err != nil {
		return nil, fmt.Errorf("%w: written, it cannot be read: %w", ErrNotKept, err)
	}
	if where := differ(reflect.ValueOf(v).Elem(), reflect.ValueOf(&back).Elem(), 0); where != "" {
		return nil, fmt.Errorf("%w: %s", ErrNotKept, where)
	}
	return data, nil
}

// copyOf returns a copy of v, which is flat and was encoded. It keeps nothing
// of a larger text of which v may have a part.
func (c *coder[T]) copyOf(v *T) *T {
	own := *v
	c.check.clone(reflect.ValueOf(&own).Elem())
	return &own
}

// decode reads what encode has written.
func (c *coder[T]) decode(data []byte) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("durable: panic while a value is read: %v", p)
		}
	}()
	err = c.Unmarshal(data, &v)
	return v, err
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	timeType      = reflect.TypeFor[time.Time]()
)

// maxDepth bounds how deep differ looks.
const maxDepth = 100

// differ says where b, which was read from what a was written as, is not a; ""
// if it is. Empty and nil slices and maps are the same, and so are times that
// are Equal. Fields with the tag json:"-" are left out by the author of the
// type.
func differ(a, b reflect.Value, depth int) string {
	t := a.Type()
	if depth > maxDepth {
		return ""
	}
	if t == timeType {
		if !a.Interface().(time.Time).Equal(b.Interface().(time.Time)) {
			return "a time is another one"
		}
		return ""
	}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && a.CanInterface() &&
		(t.Implements(jsonMarshaler) || reflect.PointerTo(t).Implements(jsonMarshaler) ||
			t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(textMarshaler)) {
		return differText(a, b)
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		if a.IsNil() {
			return ""
		}
		return fmt.Sprintf("a %s", t)
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return fmt.Sprintf("a %s is nil", t)
			}
			return ""
		}
		return differ(a.Elem(), b.Elem(), depth+1)
	case reflect.Interface:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return fmt.Sprintf("a %s is nil", t)
			}
			return ""
		}
		if a.Elem().Type() != b.Elem().Type() {
			return fmt.Sprintf("a %s in a %s comes back as %s", a.Elem().Type(), t, b.Elem().Type())
		}
		return differ(a.Elem(), b.Elem(), depth+1)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Tag.Get("json") == "-" {
				continue
			}
			if !f.IsExported() && !(f.Anonymous && indirect(f.Type).Kind() == reflect.Struct) {
				if !a.Field(i).IsZero() {
					return fmt.Sprintf("field %s of %s is not exported", f.Name, t)
				}
				continue
			}
			if where := differ(a.Field(i), b.Field(i), depth+1); where != "" {
				return where
			}
		}
		return ""
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return fmt.Sprintf("%d of %d elements of a %s come back", b.Len(), a.Len(), t)
		}
		if t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice {
			if !bytes.Equal(a.Bytes(), b.Bytes()) {
				return fmt.Sprintf("a %s is another one", t)
			}
			return ""
		}
		for i := range a.Len() {
			if where := differ(a.Index(i), b.Index(i), depth+1); where != "" {
				return where
			}
		}
		return ""
	case reflect.Map:
		if a.Len() != b.Len() {
			return fmt.Sprintf("%d of %d entries of a %s come back", b.Len(), a.Len(), t)
		}
		for _, key := range a.MapKeys() {
			other := b.MapIndex(key)
			if !other.IsValid() {
				if key.Kind() == reflect.Pointer || key.Kind() == reflect.Struct {
					continue // is found by what it points to, or by a time
				}
				return fmt.Sprintf("a key of a %s is missing", t)
			}
			if where := differ(a.MapIndex(key), other, depth+1); where != "" {
				return where
			}
		}
		return ""
	}
	if !a.Equal(b) {
		return fmt.Sprintf("a %s is another one", t)
	}
	return ""
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// differText compares values that write themselves.
func differText(a, b reflect.Value) string {
	x, err := json.Marshal(a.Interface())
	if err != nil {
		return fmt.Sprintf("a %s: %v", a.Type(), err)
	}
	y, err := json.Marshal(b.Interface())
	if err != nil || !bytes.Equal(x, y) {
		return fmt.Sprintf("a %s is another one", a.Type())
	}
	return ""
}
