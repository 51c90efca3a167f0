package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func openStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := OpenStore(path)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func saved(number int64) Saved {
	return Saved{Message: Message{
		ID: fmt.Sprintf("message%d", 1000+number), Number: number, To: "+12125550123", Text: "Hello", Priority: 2,
		Accepted: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	}}
}

func TestWhatWasSavedIsLoadedInOrder(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "state.json"))
	none, err := s.Load()
	require.NoError(t, err)
	require.Empty(t, none)

	failed := saved(2)
	failed.Failure = "nobody has this number"
	require.NoError(t, s.Save([]Saved{saved(3), saved(1), failed}))
	got, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, []Saved{saved(1), failed, saved(3)}, got)

	require.NoError(t, s.Save([]Saved{}))
	got, err = s.Load()
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestTheFileIsForItsOwnerAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	path := filepath.Join(t.TempDir(), "new", "state.json")
	s := openStore(t, path)
	require.NoError(t, s.Save([]Saved{saved(1)}))
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, s.Save([]Saved{saved(1)}))
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
	require.ErrorContains(t, err, "everybody may write")
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
	const message = `{"id":"abcdefgh","number":1,"to":"+12125550123","text":"Hi","priority":0,"accepted":"2026-05-01T12:00:00Z"}`
	for name, content := range map[string]string{
		"nothing in it":        ``,
		"not JSON":             `hello`,
		"cut off":              `{"version":1,"messages":[` + message,
		"zeros":                strings.Repeat("\x00", 512),
		"more after its end":   `{"version":1,"messages":[]} {}`,
		"another version":      `{"version":2,"messages":[]}`,
		"an unknown member":    `{"version":1,"messages":[],"extra":1}`,
		"a bad number":         `{"version":1,"messages":[` + strings.Replace(message, "+1212", "1212", 1) + `]}`,
		"a bad text":           `{"version":1,"messages":[` + strings.Replace(message, "Hi", "", 1) + `]}`,
		"a bad id":             `{"version":1,"messages":[` + strings.Replace(message, "abcdefgh", "../../x", 1) + `]}`,
		"the same id twice":    `{"version":1,"messages":[` + message + `,` + message + `]}`,
		"no number of its own": `{"version":1,"messages":[` + strings.Replace(message, `"number":1`, `"number":0`, 1) + `]}`,
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

func TestOnlyARegularFileInItsDirectoryIsRead(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte(`{"version":1,"messages":[]}`), 0o600))
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
	require.NoError(t, s.Save([]Saved{saved(1)}))
	require.NoError(t, os.MkdirAll(filepath.Join(path+".tmp", "in the way"), 0o700))
	require.ErrorContains(t, s.Save([]Saved{saved(2)}), path)
	got, err := s.Load()
	require.NoError(t, err)
	require.Equal(t, []Saved{saved(1)}, got)
}

func TestASaveDoesNotWriteThroughALinkInItsWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	s := openStore(t, path)
	victim := filepath.Join(filepath.Dir(path), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	if os.Symlink("victim", path+".tmp") != nil {
		t.Skip("no symbolic links here")
	}
	require.NoError(t, s.Save([]Saved{saved(1)}))
	content, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))
}
