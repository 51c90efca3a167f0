package jetstream_test

import (
	"os"
	"testing"

	"github.com/twillgo/twill/jetstream/internal/natstest"
)

func TestMain(m *testing.M) {
	natstest.Main()
	os.Exit(m.Run())
}
