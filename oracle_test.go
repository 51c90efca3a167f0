package twill_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oracleDefault holds the recordings of real Twisted that the project carries.
const oracleDefault = "testdata/oracle"

// oracleFile is one file of recordings; each line is one program and its trace.
type oracleFile struct {
	name  string
	lines [][]byte
}

// oracleFolder returns the folder to replay and whether it is the project's own,
// whose contents a test may count on.
func oracleFolder() (folder string, own bool) {
	if folder := os.Getenv("TWILL_ORACLE"); folder != "" {
		return folder, false
	}
	return oracleDefault, true
}

// oracleFiles reads <prefix>*.jsonl and <prefix>*.jsonl.gz from the folder in TWILL_ORACLE,
// by default the project's own. A folder of the caller's choice that has no such file skips the test.
func oracleFiles(t *testing.T, prefix string) []oracleFile {
	t.Helper()
	folder, own := oracleFolder()
	info, err := os.Stat(folder)
	require.NoError(t, err, "folder of recordings")
	require.True(t, info.IsDir(), "%s is not a folder", folder)

	var files []oracleFile
	for _, pattern := range []string{prefix + "*.jsonl", prefix + "*.jsonl.gz"} {
		paths, err := filepath.Glob(filepath.Join(folder, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			files = append(files, oracleFile{name: filepath.Base(path), lines: oracleLines(t, path)})
		}
	}
	if len(files) == 0 {
		require.False(t, own, "no %s*.jsonl or %s*.jsonl.gz in %s", prefix, prefix, folder)
		t.Skipf("no %s*.jsonl or %s*.jsonl.gz in %s", prefix, prefix, folder)
	}
	return files
}

// oracleLines returns the lines of a file that are not blank.
func oracleLines(t *testing.T, path string) [][]byte {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var in io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		unzip, err := gzip.NewReader(file)
		require.NoError(t, err, path)
		defer unzip.Close()
		in = unzip
	}
	text, err := io.ReadAll(in)
	require.NoError(t, err, path)

	var lines [][]byte
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	require.NotEmpty(t, lines, "%s holds no program", path)
	return lines
}
