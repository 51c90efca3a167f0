package share

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// The formats are those of docs/shared.md: a program in another language, and
// an older process, depend on them.
func TestWireFormat(t *testing.T) {
	for want, v := range map[string]any{
		`{"v":1,"op":"join","call":"ABC","from":"N2"}`:                                               message{Version: 1, Op: opJoin, Call: "ABC", From: "N2"},
		`{"v":1,"op":"joined","call":"ABC"}`:                                                         message{Version: 1, Op: replyJoined, Call: "ABC"},
		`{"v":1,"op":"leave","call":"ABC","from":"N2"}`:                                              message{Version: 1, Op: opLeave, Call: "ABC", From: "N2"},
		`{"v":1,"op":"over","call":"ABC","outcome":{"v":1,"state":"done","value":{"n":7},"by":"X"}}`: message{Version: 1, Op: opOver, Call: "ABC", Outcome: &decision{Version: 1, State: stateDone, Value: json.RawMessage(`{"n":7}`), By: "X"}},
		`{"v":1,"state":"failed","error":{"text":"boom"},"by":"X"}`:                                  decision{Version: 1, State: stateFailed, Error: json.RawMessage(`{"text":"boom"}`), By: "X"},
		`{"v":1,"state":"large","size":2000000,"max":1048576,"by":"X"}`:                              decision{Version: 1, State: stateTooLarge, Size: 2000000, Max: 1048576, By: "X"},
		`{"v":1,"state":"canceled","by":"X"}`:                                                        decision{Version: 1, State: stateCanceled, By: "X"},
		`{"v":1,"state":"lost","by":"X"}`:                                                            decision{Version: 1, State: stateLost, By: "X"},
	} {
		got, err := json.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.Equal(t, []string{"ending", "over", "unknown"}, []string{replyEnding, replyOver, replyUnknown})
}
