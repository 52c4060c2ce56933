package admin

import (
	"os"
	"testing"

	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
