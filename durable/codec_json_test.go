package durable

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

type (
	plainText string
	plainByte byte
	message   struct {
		To, Text string            `json:",omitempty"`
		Tries    int               `json:"tries"`
		Parts    []part            `json:"parts,omitempty"`
		Tags     map[string]string `json:"tags"`
		Raw      []byte
		Sum      [4]byte
		Next     *part
		secret   struct{} `json:"-"`
		Hidden   chan int `json:"-"`
	}
	part struct {
		Name  plainText
		Price float64
		Codes map[int32][]plainByte
		By    *string
	}
	chain     struct{ Next *chain }
	nest      []nest
	tree      map[string]tree
	inner     struct{ A int }
	embeds    struct{ inner }
	embedsPtr struct{ *message }
	hides     struct{ a int }
	taken     struct {
		A int
		B int `json:"A"`
	}
	folded struct {
		A  int `json:"key"`
		B  int `json:"KEY"`
		C  string
		C2 string `json:"c"`
	}
	quoted struct {
		A int `json:",string"`
	}
	zeroed struct {
		A everZero `json:",omitzero"`
	}
	everZero  int
	strange   struct{ Ä int }
	ownText   string
	ownJSON   struct{ A int }
	ownParse  int
	ownAppend struct{ A string }
	ownV2     struct{ A string }
)

// twice has two fields of one name: vet does not let it be declared.
var twice = reflect.StructOf([]reflect.StructField{
	{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`}, {Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
})

func (everZero) IsZero() bool                                { return true }
func (o ownText) MarshalText() ([]byte, error)               { return []byte("own"), nil }
func (o *ownJSON) MarshalJSON() ([]byte, error)              { return []byte("{}"), nil }
func (o *ownParse) UnmarshalText([]byte) error               { *o = 7; return nil }
func (o ownAppend) AppendText(b []byte) ([]byte, error)      { return b, nil }
func (o ownV2) MarshalJSONTo(enc interface{ Token() }) error { return nil }

// TestJSONCheckOf says for which types encode need not read what it writes.
func TestJSONCheckOf(t *testing.T) {
	for _, v := range []any{
		true, 1, uint8(1), 1.5, float32(1), "", plainText(""), []string{}, []byte{}, []plainByte{}, [3]int{}, map[string]int{},
		map[plainText][]string{}, map[uint8]bool{}, new(int), new("text"), struct{}{}, message{}, &message{}, []message{},
		map[string]map[string]message{}, folded{}, time.Second, everZero(1), []*message{},
	} {
		_, ok := jsonCheckOf(reflect.TypeOf(v))
		require.True(t, ok, "%T", v)
	}
	for _, v := range []any{
		1i, make(chan int), func() {}, []any{}, map[string]any{}, map[bool]int{}, map[float64]int{}, map[[1]int]int{}, new(new(int)),
		new([]int), new(map[string]int), time.Time{}, json.Number(""), json.RawMessage{}, big.Int{}, netip.Addr{}, chain{}, nest{}, tree{},
		embeds{}, embedsPtr{}, hides{}, reflect.Zero(twice).Interface(), taken{}, quoted{}, zeroed{}, strange{}, ownText(""), ownJSON{}, ownParse(0), ownAppend{},
		ownV2{}, []ownJSON{}, map[ownText]int{}, struct{ A ownParse }{}, struct {
			A int `json:"a.b"`
		}{}, struct {
			A int `json:"-,"`
		}{}, struct{ E error }{},
	} {
		_, ok := jsonCheckOf(reflect.TypeOf(v))
		require.False(t, ok, "%T", v)
	}
	_, ok := jsonCheckOf(reflect.TypeFor[any]())
	require.False(t, ok)
}

// TestJSONCheckLetsNothingPass compares the quick check with reading what was
// written, for many types and values.
func TestJSONCheckLetsNothingPass(t *testing.T) {
	var known, refused, all int
	for seed := range uint64(4000) {
		k, r, n := compareChecks(t, seed)
		known, refused, all = known+k, refused+r, all+n
	}
	t.Logf("%d values, %d of types that are known, %d of these refused", all, known, refused)
	require.Greater(t, known, all/10)
	require.Greater(t, refused, known/100)
}

func FuzzJSONCheck(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compareChecks(t, seed) })
}

func compareChecks(t *testing.T, seed uint64) (known, refused, all int) {
	r := rand.New(rand.NewPCG(seed, 17))
	typ := randomType(r, 4)
	check, ok := jsonCheckOf(typ)
	for range 8 {
		p := reflect.New(typ)
		fill(r, p.Elem(), 5)
		all++
		if !ok {
			continue
		}
		known++
		passes := check.passes(p.Elem())
		data, err := json.Marshal(p.Interface())
		whole := "cannot be written"
		if err == nil {
			back := reflect.New(typ)
			require.NoError(t, json.Unmarshal(data, back.Interface()), "seed %d: %s", seed, typ)
			whole = differ(p.Elem(), back.Elem(), 0)
			same, err := json.Marshal(p.Elem().Interface())
			require.NoError(t, err)
			require.Equal(t, string(same), string(data), "seed %d: %s", seed, typ)
		} else {
			passes = false // encode returns the error
		}
		require.Equal(t, whole == "", passes, "seed %d: %s: %s: %s", seed, typ, data, whole)
		if !passes {
			refused++
		}
	}
	return known, refused, all
}

var (
	simpleTypes = []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[uint64](), reflect.TypeFor[uintptr](),
		reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[string](),
		reflect.TypeFor[plainText](), reflect.TypeFor[plainByte](), reflect.TypeFor[[]byte](), reflect.TypeFor[message](),
		reflect.TypeFor[part](), reflect.TypeFor[folded](), reflect.TypeFor[struct{}](), reflect.TypeFor[time.Duration](),
	}
	otherTypes = []reflect.Type{
		reflect.TypeFor[any](), reflect.TypeFor[time.Time](), reflect.TypeFor[json.Number](), reflect.TypeFor[chain](),
		reflect.TypeFor[nest](), reflect.TypeFor[tree](), reflect.TypeFor[embeds](), reflect.TypeFor[embedsPtr](), reflect.TypeFor[hides](),
		twice, reflect.TypeFor[taken](), reflect.TypeFor[quoted](), reflect.TypeFor[zeroed](), reflect.TypeFor[strange](),
		reflect.TypeFor[ownText](), reflect.TypeFor[ownJSON](), reflect.TypeFor[ownParse](), reflect.TypeFor[complex64](),
		reflect.TypeFor[json.RawMessage](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[big.Int](), reflect.TypeFor[error](),
	}
	someTags = []string{
		"", "", "", ",omitempty", "a,omitempty", "b", "B", "A", "x_1", "-", "-,", ",string", "x y", "a.b", ",omitzero", "ä", "b,", `a\"b`, "<",
		"b,omitempty,string", "b,inline", ",case:ignore",
	}
)

func randomType(r *rand.Rand, depth int) reflect.Type {
	if depth == 0 || r.IntN(4) == 0 {
		if r.IntN(12) == 0 {
			return otherTypes[r.IntN(len(otherTypes))]
		}
		return simpleTypes[r.IntN(len(simpleTypes))]
	}
	switch r.IntN(6) {
	case 0:
		return reflect.PointerTo(randomType(r, depth-1))
	case 1:
		return reflect.SliceOf(randomType(r, depth-1))
	case 2:
		return reflect.ArrayOf(r.IntN(4), randomType(r, depth-1))
	case 3:
		key := randomType(r, 0)
		if !key.Comparable() {
			key = reflect.TypeFor[string]()
		}
		return reflect.MapOf(key, randomType(r, depth-1))
	}
	fields := make([]reflect.StructField, r.IntN(5))
	for i := range fields {
		fields[i] = reflect.StructField{
			Name: string(rune('A' + i)), Type: randomType(r, depth-1),
			Tag: reflect.StructTag(fmt.Sprintf(`json:"%s"`, someTags[r.IntN(len(someTags))])),
		}
	}
	return reflect.StructOf(fields)
}

var (
	someTexts = []string{
		"", "a", "<&>", "\u2028", "\x00", "\ufffd", "\xff", "\xed\xa0\x80", "\"\\/", "\U0001f600", "line\n", "null", "a\xc0", "ÄÖ",
	}
	someFloats = []float64{0, math.Copysign(0, -1), 1.5, -1e300, 5e-324, math.MaxFloat64, math.NaN(), math.Inf(1), 1e21, 1e-7, math.Pi}
	someInts   = []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1<<53 + 1, 255, -128}
)

// fill sets v to some value.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	if !v.CanSet() || r.IntN(6) == 0 {
		return // zero
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(someInts[r.IntN(len(someInts))])
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(uint64(someInts[r.IntN(len(someInts))]))
	case reflect.Float32, reflect.Float64:
		f := someFloats[r.IntN(len(someFloats))]
		if (f != f || math.IsInf(f, 0)) && r.IntN(4) != 0 {
			f = 2.5
		}
		v.SetFloat(f)
	case reflect.String:
		s := someTexts[r.IntN(len(someTexts))]
		if r.IntN(3) != 0 {
			s = someTexts[0:6][r.IntN(6)]
		}
		v.SetString(s)
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth-1)
		}
	case reflect.Slice:
		if depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 4))
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth-1)
		}
	case reflect.Map:
		if depth <= 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(r, key, depth-1)
			fill(r, value, depth-1)
			if key.Comparable() {
				v.SetMapIndex(key, value)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i), depth-1)
		}
	}
}

// What is not decoded for the first call shares nothing that the caller can
// change, and is what would be decoded.
func TestFlatValuesAreCopied(t *testing.T) {
	type flat struct {
		Text  string `json:"text,omitempty"`
		N     int
		Lines [2]struct{ Line plainText }
	}
	v := flat{"text", 1, [2]struct{ Line plainText }{{"one"}, {"two"}}}
	c := newCoder[flat](JSON)
	require.True(t, c.flat)
	data, err := c.encode(&v)
	require.NoError(t, err)
	own := c.copyOf(&v)
	back, err := c.decode(data)
	require.NoError(t, err)
	require.Equal(t, back, *own)
	require.NotSame(t, unsafe.StringData(v.Text), unsafe.StringData(own.Text), "it would keep all of which it is a part")
	v.Lines[1].Line = "changed"
	require.EqualValues(t, "two", own.Lines[1].Line)

	require.True(t, newCoder[string](JSON).flat)
	require.True(t, newCoder[float64](JSON).flat)
	require.False(t, newCoder[[]string](JSON).flat)
	require.False(t, newCoder[*int](JSON).flat)
	require.False(t, newCoder[map[string]int](JSON).flat)
	require.False(t, newCoder[struct{ Next *int }](JSON).flat)
	require.False(t, newCoder[struct {
		N int `json:"-"`
	}](JSON).flat, "it comes back as 0")
	require.False(t, newCoder[time.Time](JSON).flat)
	require.False(t, newCoder[any](JSON).flat)
	require.False(t, newCoder[string](Codec{Marshal: json.Marshal, Unmarshal: func(b []byte, v any) error { return json.Unmarshal(b, v) }}).flat)
}

func TestEncodeReadsWithAnotherCodec(t *testing.T) {
	reads := 0
	c := newCoder[string](Codec{Marshal: json.Marshal, Unmarshal: func(data []byte, v any) error {
		reads++
		return json.Unmarshal(data, v)
	}})
	text := "a"
	_, err := c.encode(&text)
	require.NoError(t, err)
	require.Equal(t, 1, reads)

	own := newCoder[string](JSON)
	require.True(t, own.known)
	text = "\xff"
	_, err = own.encode(&text)
	require.ErrorIs(t, err, ErrNotKept)
	require.ErrorContains(t, err, "a string is another one")
	number := math.NaN()
	floats := newCoder[float64](JSON)
	_, err = floats.encode(&number)
	require.ErrorIs(t, err, ErrNotKept)
}
