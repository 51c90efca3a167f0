package durable

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"
)

// jsonCheck is what decides, for the values of a type, whether JSON brings them
// back as they are: nil if it does. It exists for types of which that depends
// on nothing but their texts, as JSON writes every text as UTF-8. For them
// encode need not read what was written, which costs several times as much as
// the writing.
type jsonCheck struct {
	kind   reflect.Kind
	elem   *jsonCheck   // of what a pointer, slice, array or map has
	key    *jsonCheck   // of the keys of a map
	fields []fieldCheck // of a struct, those that need one
}

type fieldCheck struct {
	index int
	check *jsonCheck
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	textAppender    = reflect.TypeFor[encoding.TextAppender]()
	numberType      = reflect.TypeFor[json.Number]()
)

// jsonCheckOf returns the check for values of t, and whether there is one. A
// type has none if anything in it has methods for its own text, or is an
// interface, an embedded or unexported field, or something else for which only
// encoding/json knows the outcome.
func jsonCheckOf(t reflect.Type) (*jsonCheck, bool) { return jsonCheckIn(t, nil) }

// jsonCheckIn is jsonCheckOf of a type that is within others.
func jsonCheckIn(t reflect.Type, within []reflect.Type) (_ *jsonCheck, ok bool) {
	for _, w := range within {
		if w == t {
			return nil, false // a type that contains itself
		}
	}
	within = append(within[:len(within):len(within)], t)
	if t == numberType { // an empty one is written as 0
		return nil, false
	}
	for _, own := range []reflect.Type{jsonMarshaler, textMarshaler, textAppender, jsonUnmarshaler, textUnmarshaler} {
		if t.Implements(own) || reflect.PointerTo(t).Implements(own) {
			return nil, false
		}
	}
	if _, own := reflect.PointerTo(t).MethodByName("MarshalJSONTo"); own { // of encoding/json/v2
		return nil, false
	}
	if _, own := reflect.PointerTo(t).MethodByName("UnmarshalJSONFrom"); own {
		return nil, false
	}
	c := &jsonCheck{kind: t.Kind()}
	switch t.Kind() {
	case reflect.Bool, reflect.Float32, reflect.Float64, reflect.Uintptr,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil, true // or they cannot be written, as a NaN
	case reflect.String:
		return c, true
	case reflect.Pointer:
		switch t.Elem().Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map: // a pointer to a nil comes back as nil
			return nil, false
		}
		c.elem, ok = jsonCheckIn(t.Elem(), within)
	case reflect.Slice, reflect.Array:
		c.elem, ok = jsonCheckIn(t.Elem(), within)
	case reflect.Map:
		switch t.Key().Kind() {
		case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		default:
			return nil, false
		}
		if c.key, ok = jsonCheckIn(t.Key(), within); ok {
			c.elem, ok = jsonCheckIn(t.Elem(), within)
		}
	case reflect.Struct:
		names := make(map[string]bool)
		for i := range t.NumField() {
			f := t.Field(i)
			tag := f.Tag.Get("json")
			if tag == "-" {
				continue
			}
			name, option, _ := strings.Cut(tag, ",")
			if name == "" {
				name = f.Name
			}
			if !f.IsExported() || f.Anonymous || !isPlainName(name) || names[name] || option != "" && option != "omitempty" {
				return nil, false
			}
			names[name] = true
			check, ok := jsonCheckIn(f.Type, within)
			if !ok {
				return nil, false
			}
			if check != nil {
				c.fields = append(c.fields, fieldCheck{i, check})
			}
		}
		ok = true
	}
	if c.elem == nil && c.key == nil && c.fields == nil {
		return nil, ok
	}
	return c, ok
}

// isFlat reports whether values of t, for which there is a check, have nothing
// but numbers and texts in them, and come back with all their fields.
func isFlat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return false
	case reflect.Array:
		return isFlat(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("json") == "-" || !isFlat(f.Type) {
				return false
			}
		}
	}
	return true
}

// clone gives v, which is flat, its own texts.
func (c *jsonCheck) clone(v reflect.Value) {
	if c == nil {
		return
	}
	switch c.kind {
	case reflect.String:
		v.SetString(strings.Clone(v.String()))
	case reflect.Array:
		for i := range v.Len() {
			c.elem.clone(v.Index(i))
		}
	case reflect.Struct:
		for _, f := range c.fields {
			f.check.clone(v.Field(f.index))
		}
	}
}

// isPlainName reports whether a field has that name in JSON, whatever else is
// in its tag.
func isPlainName(name string) bool {
	for i := range len(name) {
		b := name[i]
		if !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_') {
			return false
		}
	}
	return true
}

// passes reports whether v comes back.
func (c *jsonCheck) passes(v reflect.Value) bool {
	if c == nil {
		return true
	}
	switch c.kind {
	case reflect.String:
		return utf8.ValidString(v.String())
	case reflect.Pointer:
		return v.IsNil() || c.elem.passes(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !c.elem.passes(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			if !c.key.passes(entries.Key()) || !c.elem.passes(entries.Value()) {
				return false
			}
		}
	case reflect.Struct:
		for _, f := range c.fields {
			if !f.check.passes(v.Field(f.index)) {
				return false
			}
		}
	}
	return true
}
