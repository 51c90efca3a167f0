package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseFlags(t *testing.T) {
	c, err := parseFlags(nil, &bytes.Buffer{})
	if dir, dirErr := os.UserCacheDir(); dirErr == nil {
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(c.state, dir))
		require.Equal(t, config{addr: "127.0.0.1:8025", width: 5, state: c.state}, c)
	}
	c, err = parseFlags([]string{"-send", "x.csv", "-width", "100", "-carrier", "https://carrier.example/v1"}, &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, config{addr: "127.0.0.1:8025", width: 100, send: "x.csv", carrier: "https://carrier.example/v1"}, c)
}

func TestWhatMakesNoSenseIsExitCode2(t *testing.T) {
	for args, want := range map[string]string{
		"-width 0":                      "from 1 to 100",
		"-width 101":                    "from 1 to 100",
		"-width x":                      "invalid value",
		"-addr 8025":                    "give a host and a port",
		"-addr=":                        "give a host and a port",
		"-carrier ftp://x/":             "http or https",
		"-carrier carrier.example":      "http or https",
		"-carrier http://u:secret@/":    "http or https",
		"-carrier=":                     "-carrier is empty",
		"-send=":                        "-send is empty",
		"-state=":                       "-state is empty",
		"-send x.csv -addr 127.0.0.1:1": "do not go with -send",
		"-send x.csv -state s.json":     "do not go with -send",
		"recipients.csv":                `unexpected argument "recipients.csv"`,
		"-x":                            "not defined",
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, run(strings.Fields(args), &stdout, &stderr, nil), args)
		require.Contains(t, stderr.String(), want, args)
		require.NotContains(t, stderr.String(), "secret")
		require.Empty(t, stdout.String())
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run([]string{"-help"}, &stdout, &stderr, nil))
	for _, name := range []string{"-addr", "-width", "-state", "-carrier", "-send"} {
		require.Contains(t, stdout.String(), name)
	}
	require.Empty(t, stderr.String())
}
