package jetstream

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A message is written with the bytes of encoding/json, whatever is in it.
func TestMessagesAreWrittenAsEncodingJSONDoes(t *testing.T) {
	for name, v := range vectors() {
		require.Equal(t, string(marshal(v)), string(encode(v)), name)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		for _, v := range []any{&wirePut{}, &effect{}, &batch{}, &outcome{}, &message{}, &request{Op: opDone}, &request{Op: opBeat}, &record{}} {
			fillRandomly(random, reflect.ValueOf(v).Elem(), 0)
			require.Equal(t, string(marshal(v)), string(encode(v)), "%T", v)
		}
	}
}

// Whatever the bytes are, a message is read to what encoding/json reads, or
// with an error if that has one.
func TestMessagesAreReadAsEncodingJSONDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	own := 0
	for range 3000 {
		for _, v := range []any{&putMessage{}, &outcome{}, &message{}, &request{Op: opDone}} {
			fillRandomly(random, reflect.ValueOf(v).Elem(), 0)
			data := marshal(v)
			own += checkRead(t, data)
			for range 3 {
				data = change(random, data)
				checkRead(t, data)
			}
		}
	}
	require.Greater(t, own, 1000, "messages that were read without encoding/json")
	puts := []*waitingPut{{data: encode(&vectors()["put"].(*putMessage).Puts[0])}, {data: encode(&wirePut{Jobs: []putJob{{"P1-5", json.RawMessage(`1`)}}})}}
	require.Equal(t, 1, checkReadAs[putMessage](t, putData("P1", puts, false)), "the message with puts")
}

// FuzzRead looks for bytes that are read to something else than encoding/json
// reads.
func FuzzRead(f *testing.F) {
	for _, v := range vectors() {
		f.Add(marshal(v))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkRead(t, data) })
}

// checkRead reads data as each of the messages. It returns how many were read
// without encoding/json.
func checkRead(t *testing.T, data []byte) int {
	return checkReadAs[putMessage](t, data) + checkReadAs[outcome](t, data) + checkReadAs[message](t, data) + checkReadAs[request](t, data)
}

func checkReadAs[T any, P interface {
	*T
	read(*reader)
}](t *testing.T, data []byte) int {
	var got, want T
	err := decode[T, P](data, &got)
	standard := json.Unmarshal(data, &want)
	require.Equal(t, standard == nil, err == nil, "%s", data)
	if standard == nil {
		require.Equal(t, want, got, "%s", data)
	}
	r := reader{data: data}
	P(new(T)).read(&r)
	if r.bad || r.pos < len(data) {
		return 0
	}
	return 1
}

// change changes some bytes.
func change(random *rand.Rand, data []byte) []byte {
	if len(data) == 0 {
		return []byte("{")
	}
	at := random.IntN(len(data))
	to := at + random.IntN(min(len(data)-at, 40)) + 1
	switch random.IntN(4) {
	case 0: // one byte is another
		data = slices.Clone(data)
		const bytes = `{}[]",:\ 0189-.etn` + "\n\xff"
		data[at] = bytes[random.IntN(len(bytes))]
	case 1: // some are missing
		data = slices.Concat(data[:at], data[to:])
	case 2: // some come twice
		data = slices.Concat(data[:to], data[at:])
	default: // some come elsewhere
		other := random.IntN(at + 1)
		data = slices.Concat(data[:other], data[at:to], data[other:at], data[to:])
	}
	return data
}

// fillRandomly sets the fields of v; half of them stay zero. What is deeply
// nested stays nil.
func fillRandomly(random *rand.Rand, v reflect.Value, depth int) {
	switch v.Type() {
	case reflect.TypeFor[json.RawMessage]():
		all := []string{`0`, `-1.5e3`, `"a,\"]}"`, `{"a":[1,{"b":null}],"c":"}"}`, `[]`, `true`, `null`}
		v.SetBytes([]byte(all[random.IntN(len(all))]))
		return
	case reflect.TypeFor[*config](), reflect.TypeFor[*part](), reflect.TypeFor[*workerBeat]():
		if random.IntN(20) > 0 {
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		done := v.Type() == reflect.TypeFor[request]() && v.FieldByName("Op").String() == opDone
		for i := range v.NumField() {
			field := v.Type().Field(i).Name
			switch {
			case v.Type() == reflect.TypeFor[request]() && (field == "Op" || done && field != "Version" && field != "From" && field != "Done"):
			case random.IntN(2) == 0 || v.Field(i).Kind() == reflect.Struct:
				fillRandomly(random, v.Field(i), depth)
			default:
				v.Field(i).SetZero()
			}
		}
	case reflect.Pointer:
		v.SetZero()
		if depth < 3 {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandomly(random, v.Elem(), depth+1)
		}
	case reflect.Slice:
		v.SetZero()
		for range random.IntN(3) {
			e := reflect.New(v.Type().Elem()).Elem()
			if fillRandomly(random, e, depth+1); e.Kind() == reflect.Pointer && e.IsNil() {
				return
			}
			v.Set(reflect.Append(v, e))
		}
	case reflect.String:
		all := []string{"P1-4", "finished", "a b", "é", "<&>", "a\nb", `"\`, "\x7f", "\xff", "\u2028"}
		v.SetString(all[random.IntN(len(all))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(uint64(random.IntN(5)))
	case reflect.Uint64:
		v.SetUint(random.Uint64() >> random.IntN(64))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(random.Uint64()) >> random.IntN(64))
	case reflect.Float64:
		v.SetFloat(random.Float64())
	}
}
