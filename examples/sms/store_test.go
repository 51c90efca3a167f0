//go:build suites

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func openStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := OpenStore(path)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func saved(number int64) Saved {
	return Saved{JobRecord: twill.JobRecord[Message]{
		Arg:      Message{ID: fmt.Sprintf("message%d", 1000+number), Number: number, To: "+12125550123", Text: "Hello"},
		Priority: 2, Attempts: 1, Queued: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	}}
}

// with is a state of these messages.
func with(messages ...Saved) State {
	return State{stateVersion, Settings{3, 20, true}, messages}
}

func TestWhatWasSavedIsLoadedInOrder(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "state.json"))
	first, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, State{stateVersion, Settings{Width: firstWidth}, nil}, first)

	failed := saved(2)
	failed.Failure = "nobody has this number"
	require.NoError(t, s.Save(with(saved(3), saved(1), failed)))
	got, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, with(saved(1), failed, saved(3)), got)

	require.NoError(t, s.Save(with()))
	got, err = s.Load()
	require.NoError(t, err)
	require.Empty(t, got.Messages)
}

func TestTheFileIsForItsOwnerAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	path := filepath.Join(t.TempDir(), "new", "state.json")
	s := openStore(t, path)
	require.NoError(t, s.Save(with(saved(1))))
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, s.Save(with(saved(1))))
	for name, want := range map[string]os.FileMode{path: 0o600, path + ".lock": 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), name)
	}
	require.NoFileExists(t, path+".tmp")
}

func TestADirectoryOfEverybodyIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	_, err := OpenStore(filepath.Join(dir, "state.json"))
	require.ErrorContains(t, err, "every user may write")
}

func TestAStateFileBelongsToOneProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	first := openStore(t, path)
	if _, err := OpenStore(path); runtime.GOOS == "linux" || runtime.GOOS == "darwin" {
		require.ErrorContains(t, err, "another program is using it")
		require.ErrorContains(t, err, path)
	}
	require.NoError(t, first.Close())
	openStore(t, path)
}

func TestAFileThatMakesNoSenseIsAnErrorAndStays(t *testing.T) {
	const message = `{"arg":{"id":"abcdefgh","number":1,"to":"+12125550123","text":"Hi"},"priority":0,"state":"STATE","attempts":0,"queued":"2026-05-01T12:00:00Z"}`
	pending, err := twill.JobPending.MarshalText()
	require.NoError(t, err)
	one := strings.Replace(message, "STATE", string(pending), 1)
	file := func(messages string) string { return `{"version":2,"width":5,"messages":[` + messages + `]}` }
	_, err = decode([]byte(file(one)))
	require.NoError(t, err)
	for name, content := range map[string]string{
		"nothing in it":        ``,
		"not JSON":             `hello`,
		"cut off":              strings.TrimSuffix(file(one), "]}"),
		"zeros":                strings.Repeat("\x00", 512),
		"more after its end":   file(``) + ` {}`,
		"another version":      `{"version":1,"messages":[]}`,
		"an unknown member":    `{"version":2,"messages":[],"extra":1}`,
		"a bad width":          `{"version":2,"width":101,"messages":[]}`,
		"a bad rate":           `{"version":2,"perSecond":-1,"messages":[]}`,
		"no UTF-8":             file(strings.Replace(one, "Hi", "\xff", 1)),
		"a bad number":         file(strings.Replace(one, "+1212", "1212", 1)),
		"a bad text":           file(strings.Replace(one, "Hi", "", 1)),
		"a bad priority":       file(strings.Replace(one, `"priority":0`, `"priority":1001`, 1)),
		"a bad state":          file(strings.Replace(one, string(pending), "lost", 1)),
		"bad attempts":         file(strings.Replace(one, `"attempts":0`, `"attempts":-1`, 1)),
		"a bad id":             file(strings.Replace(one, "abcdefgh", "../../x", 1)),
		"the same id twice":    file(one + "," + one),
		"no number of its own": file(strings.Replace(one, `"number":1`, `"number":0`, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
			_, err := openStore(t, path).Load()
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "left as it is")
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, content, string(after))
		})
	}
}

// What is written can be read: as many messages as are accepted, of the longest
// texts and failures.
func TestWhatIsSavedCanBeLoaded(t *testing.T) {
	texts := []string{strings.Repeat("<", maxText), strings.Repeat("\u2028", maxText-1) + "x", strings.Repeat("\U0001f600", maxText)}
	longest := trouble(errors.New(strings.Repeat("<\xff", 10_000)))
	var all []Saved
	for i := range maxUnsent {
		m := saved(int64(i + 1))
		draft, err := Draft{"+123456789012345", texts[i%len(texts)], -maxPriority}.Check()
		require.NoError(t, err)
		m.Arg.To, m.Arg.Text, m.Priority = draft.To, draft.Text, draft.Priority
		m.Arg.ID = newID()
		m.Failure = longest
		m.Due, m.Started, m.Stopped = time.Now(), time.Now(), time.Now()
		all = append(all, m)
	}
	content, err := encode(with(all...))
	require.NoError(t, err)
	require.Less(t, len(content), maxStateFile)
	got, err := decode(content)
	require.NoError(t, err)
	require.Len(t, got.Messages, maxUnsent)
	require.Equal(t, all[7].Arg, got.Messages[7].Arg)

	for name, bad := range map[string]func(*Saved){
		"a text":   func(m *Saved) { m.Arg.Text = "" },
		"an id":    func(m *Saved) { m.Arg.ID = "x" },
		"a number": func(m *Saved) { m.Arg.Number = 0 },
		"a size":   func(m *Saved) { m.Failure = strings.Repeat("x", maxStateFile) },
	} {
		m := saved(1)
		bad(&m)
		_, err := encode(with(m))
		require.Error(t, err, name)
	}
}

func FuzzDraft(f *testing.F) {
	f.Add("+12125550123", "Hello <\u2028>", 0)
	f.Fuzz(func(t *testing.T, to, text string, priority int) {
		draft, err := Draft{to, text, priority}.Check()
		if err != nil {
			return
		}
		m := saved(1)
		m.Arg.To, m.Arg.Text, m.Priority = draft.To, draft.Text, draft.Priority
		content, err := encode(with(m))
		require.NoError(t, err)
		got, err := decode(content)
		require.NoError(t, err)
		require.Equal(t, with(m), got)
	})
}

func TestOnlyARegularFileInItsDirectoryIsRead(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte(`{"version":2,"messages":[]}`), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	_, err := openStore(t, filepath.Join(dir, "folder")).Load()
	require.ErrorContains(t, err, "not a regular file")
	if os.Symlink(secret, filepath.Join(dir, "link")) == nil {
		_, err = openStore(t, filepath.Join(dir, "link")).Load()
		require.ErrorContains(t, err, "not a regular file")
	}
	_, err = OpenStore(dir + string(filepath.Separator))
	require.ErrorContains(t, err, "names a directory")
}

func TestASaveThatFailsLeavesTheOldState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	s := openStore(t, path)
	require.NoError(t, s.Save(with(saved(1))))
	require.NoError(t, os.MkdirAll(filepath.Join(path+".tmp", "in the way"), 0o700))
	require.ErrorContains(t, s.Save(with(saved(2))), path)
	got, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, with(saved(1)), got)
}

func TestASaveDoesNotWriteThroughALinkInItsWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	s := openStore(t, path)
	victim := filepath.Join(filepath.Dir(path), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	if os.Symlink("victim", path+".tmp") != nil {
		t.Skip("no symbolic links here")
	}
	require.NoError(t, s.Save(with(saved(1))))
	content, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))
}
