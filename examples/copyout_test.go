//go:build suites

package examples_test

import (
	"bytes"
	"context"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/test/kit" // imports twill, so that a change of it runs the tests again
)

// module is what a copied example becomes.
const module = "example.com/copied"

// What a program is run with, if not without arguments.
var arguments = map[string][]string{
	"sms": {"-send", "recipients.csv"},
}

// Arguments with which a program would go on for long after its first output.
var endless = map[string][]string{
	"crawler":    {"-latency", "500ms"},
	"fetcher":    {"-latency", "500ms"},
	"poetry":     {"-delay", "1h"},
	"sequential": {"-delay", "1h"},
}

// Examples are meant to be copied: each works in a module of its own, which
// requires only twill and x/sync, which twill requires itself.
func TestEachExampleWorksWhereItIsCopiedTo(t *testing.T) {
	if !kit.Long() || kit.RaceEnabled {
		t.Skip("builds every program, without the race detector: set TWILL_LONG=1")
	}
	programs, err := filepath.Glob(filepath.Join("*", "main.go"))
	require.NoError(t, err)
	require.NotEmpty(t, programs)
	for _, program := range programs {
		name := filepath.Dir(program)
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			binary := build(t, name, dir)
			stdout, stderr, err := output(dir, time.Minute, binary, arguments[name]...)
			require.NoError(t, err, stderr)
			require.NotEmpty(t, stdout)
			if args, ok := endless[name]; ok && runtime.GOOS != "windows" {
				interrupt(t, binary, args)
			}
		})
	}
}

// Each program is short, says how to run it and what it prints, and is in the
// list.
func TestEachExampleIsIntroduced(t *testing.T) {
	list, err := os.ReadFile("README.md")
	require.NoError(t, err)
	programs, err := filepath.Glob(filepath.Join("*", "main.go"))
	require.NoError(t, err)
	require.NotEmpty(t, programs)
	for _, program := range programs {
		name := filepath.Dir(program)
		require.Contains(t, string(list), "| ["+name+"]("+name+") |")

		fset := token.NewFileSet()
		files, err := filepath.Glob(filepath.Join(name, "*.go"))
		require.NoError(t, err)
		introduction := ""
		for _, file := range files {
			f, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.PackageClauseOnly)
			require.NoError(t, err)
			introduction += f.Doc.Text()
		}
		require.True(t, strings.HasPrefix(introduction, "Command "+name+" "), name)
		require.Contains(t, introduction, "go run ./examples/"+name, name)
		require.Regexp(t, "prints?|serve", introduction, name)

		code, err := os.ReadFile(program)
		require.NoError(t, err)
		limit := 130
		if name == "sms" {
			limit = 250
		}
		require.LessOrEqual(t, bytes.Count(code, []byte("\n")), limit, "lines of %s", program)
	}
}

// build copies an example to dir, makes that a module, and builds it.
func build(t *testing.T, name, dir string) (binary string) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	require.NoError(t, copyProgram(dir, name))

	binary = filepath.Join(dir, "program.exe")
	for _, args := range [][]string{
		{"mod", "init", module},
		{"mod", "edit", "-require=github.com/twillgo/twill@v0.0.0", "-replace=github.com/twillgo/twill=" + root},
		{"mod", "tidy"},
		{"build", "-o", binary, "."},
	} {
		_, stderr, err := output(dir, 2*time.Minute, "go", args...)
		require.NoError(t, err, "go %s: %s", strings.Join(args, " "), stderr)
	}

	direct, stderr, err := output(dir, time.Minute, "go", "list", "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all")
	require.NoError(t, err, stderr)
	required := slices.DeleteFunc(strings.Fields(direct), func(path string) bool { return path == "golang.org/x/sync" })
	require.Equal(t, []string{"github.com/twillgo/twill"}, required)
	return binary
}

// copyProgram copies the files of an example, but not its tests. Packages of
// its own are imported from where they are now.
func copyProgram(dir, name string) error {
	return filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(name, path)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o777)
		}
		if strings.HasSuffix(path, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		here := "github.com/twillgo/twill/examples/" + name
		return os.WriteFile(target, bytes.ReplaceAll(content, []byte(here), []byte(module)), 0o666)
	})
}

// output runs a command in dir, for no longer than the time given.
func output(dir string, limit time.Duration, command string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}

// interrupt starts a program, interrupts it after its first output, and wants
// it to end by itself, with status 1.
func interrupt(t *testing.T, binary string, args []string) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = read.Close() }()
	cmd.Stdout, cmd.Stderr = write, write
	require.NoError(t, cmd.Start())
	require.NoError(t, write.Close())
	_, err = read.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))

	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 1, exit.ExitCode(), exit)
}
