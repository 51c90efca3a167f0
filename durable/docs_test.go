package durable_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/docs/markdown"
)

// The programs in the documents compile.
func TestDocumentsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the compiler")
	}
	require.NoError(t, markdown.CheckModule(t.TempDir()))
}
