package apps_test

import (
	"testing"

	"github.com/template-insights/insights/store/apps"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		family, displayName string
		ide, listed         bool
	}{
		"vscode":                   {apps.VSCode, "VS Code", true, true},
		"code_insiders":            {apps.VSCode, "VS Code Insiders", true, true},
		"vscodium":                 {apps.VSCode, "VSCodium", true, true},
		"cursor":                   {apps.VSCode, "Cursor", true, true},
		"windsurf":                 {apps.VSCode, "Windsurf", true, true},
		"kiro":                     {apps.VSCode, "Kiro", true, true},
		"trae":                     {apps.VSCode, "Trae", true, true},
		"positron":                 {apps.VSCode, "Positron", true, true},
		"jetbrains":                {apps.JetBrains, "JetBrains", true, true},
		"jetbrains_gateway":        {apps.JetBrains, "JetBrains Gateway", true, true},
		"gateway":                  {apps.JetBrains, "JetBrains Gateway", true, true},
		"jetbrains toolbox":        {apps.JetBrains, "JetBrains Toolbox", true, true},
		"toolbox":                  {apps.JetBrains, "JetBrains Toolbox", true, true},
		"jetbrains_toolbox":        {apps.JetBrains, "JetBrains Toolbox", true, true},
		"intellij_idea":            {apps.JetBrains, "IntelliJ IDEA", true, true},
		"pycharm":                  {apps.JetBrains, "PyCharm", true, true},
		"jetbrains_pycharm":        {apps.JetBrains, "PyCharm", true, true},
		"jetbrains_iu":             {apps.JetBrains, "IntelliJ IDEA", true, true},
		"jetbrains_iu_2":           {apps.JetBrains, "jetbrains_iu_2", true, false},
		"goland":                   {apps.JetBrains, "GoLand", true, true},
		"webstorm":                 {apps.JetBrains, "WebStorm", true, true},
		"phpstorm":                 {apps.JetBrains, "PhpStorm", true, true},
		"rider":                    {apps.JetBrains, "Rider", true, true},
		"clion":                    {apps.JetBrains, "CLion", true, true},
		"rubymine":                 {apps.JetBrains, "RubyMine", true, true},
		"rustrover":                {apps.JetBrains, "RustRover", true, true},
		"datagrip":                 {apps.JetBrains, "DataGrip", true, true},
		"dataspell":                {apps.JetBrains, "DataSpell", true, true},
		"fleet":                    {apps.JetBrains, "Fleet", true, true},
		"ssh":                      {apps.SSH, "SSH", false, true},
		"zed":                      {apps.SSH, "Zed", true, true},
		"sftp":                     {apps.SFTP, "SFTP", false, true},
		"reconnecting_pty":         {apps.ReconnectingPTY, "Web Terminal", false, true},
		"jupyter_lab":              {apps.Unknown, "Jupyter", true, true},
		"jetbrainsish":             {apps.Unknown, "jetbrainsish", false, false},
		"jetbrains_jetbrains":      {apps.JetBrains, "jetbrains_jetbrains", true, false},
		"my_editor":                {apps.Unknown, "my_editor", false, false},
		"unknown":                  {apps.Unknown, "unknown", false, false},
		"":                         {apps.Unknown, "", false, false},
		"VSCode":                   {apps.Unknown, "VSCode", false, false}, // names are stored in lower case
		"jetbrains_android_studio": {apps.JetBrains, "Android Studio", true, true},
	} {
		got := apps.Of(name)
		if got.Family != want.family || got.DisplayName != want.displayName || got.IDE != want.ide || apps.Listed(name) != want.listed {
			t.Errorf("%q is %+v, listed %t, want %+v", name, got, apps.Listed(name), want)
		}
	}
}

// Every family has an entry, and an app that has the name of the family.
func TestFamilies(t *testing.T) {
	t.Parallel()
	for _, f := range apps.Families {
		if got := apps.Of(f.Name).Family; got != f.Name {
			t.Errorf("the app %q is of the family %q", f.Name, got)
		}
		if got := apps.Families[apps.Entry(f.Name)].Name; got != f.Name {
			t.Errorf("the entry of the app %q is %q", f.Name, got)
		}
	}
	if got := apps.Entry("my_editor"); got != len(apps.Families) {
		t.Errorf("the entry of an app of no family is %d", got)
	}
}
