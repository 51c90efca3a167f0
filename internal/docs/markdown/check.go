package markdown

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Check compiles blocks with the go command, each as a separate package inside
// the module of the current folder, and returns the errors. It writes only to
// dir, and nothing to the module. label names a block in messages.
func Check(dir string, blocks []Block, label func(Block) string) error {
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	args := []string{"build", "-o", os.DevNull, "-overlay=" + filepath.Join(dir, "overlay.json")}
	where := ""
	for i, b := range blocks {
		file, err := b.File()
		if err != nil {
			return fmt.Errorf("%s: %w", label(b), err)
		}
		name := fmt.Sprintf("block%d", i)
		written := filepath.Join(dir, name+".go")
		if err := os.WriteFile(written, file, 0o600); err != nil {
			return err
		}
		overlay.Replace[filepath.Join(here, "blocks", name, "block.go")] = written
		args = append(args, "./blocks/"+name)
		where += fmt.Sprintf("%s: %s\n", name, label(b))
	}
	if len(blocks) == 0 {
		return errors.New("no blocks of code")
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		return err
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s%s", err, where, out)
	}
	return nil
}
