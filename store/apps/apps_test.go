package apps_test

import (
	"slices"
	"strings"
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
		"claude_code":              {apps.AI, "Claude Code", false, true},
		"codex":                    {apps.AI, "Codex", false, true},
		"gemini_cli":               {apps.AI, "Gemini CLI", false, true},
		"opencode":                 {apps.AI, "OpenCode", false, true},
		"aider":                    {apps.AI, "Aider", false, true},
		"copilot_cli":              {apps.AI, "GitHub Copilot CLI", false, true},
		"goose":                    {apps.AI, "Goose", false, true},
		"amp":                      {apps.AI, "Amp", false, true},
		"jetbrains_claude_code":    {apps.JetBrains, "jetbrains_claude_code", true, false},
		"jupyter_lab":              {apps.Unknown, "Jupyter", true, true},
		"jetbrainsish":             {apps.Unknown, "jetbrainsish", false, false},
		"jetbrains_jetbrains":      {apps.JetBrains, "jetbrains_jetbrains", true, false},
		"my_editor":                {apps.Unknown, "my_editor", false, false},
		"unknown":                  {apps.Unknown, "unknown", false, false},
		"":                         {apps.Unknown, "", false, false},
		"VSCode":                   {apps.Unknown, "VSCode", false, false}, // names are stored in lower case
		"jetbrains_android_studio": {apps.JetBrains, "Android Studio", true, true},
	} {
		got, listed := apps.BuiltIn().Of(name), apps.BuiltIn().Listed(name)
		if got.Family != want.family || got.DisplayName != want.displayName || got.IDE != want.ide || listed != want.listed {
			t.Errorf("%q is %+v, listed %t, want %+v", name, got, listed, want)
		}
	}
}

// Every app is of a family with an entry, or of none. The entries that are always there have an app of their name.
func TestFamilies(t *testing.T) {
	t.Parallel()
	l := apps.BuiltIn()
	var always []string
	for i, f := range l.Families() {
		if got, known := l.Family(f.Name); !known || got != f || f.Together != 0 {
			t.Errorf("the family %q is %+v, known %t", f.Name, got, known)
		}
		if f.Always {
			always = append(always, f.Slug())
			if got := l.Entry(f.Name); got != i {
				t.Errorf("the entry of the app %q is %d, want %d", f.Name, got, i)
			}
		}
	}
	if got := strings.Join(always, " "); got != "vscode jetbrains reconnecting-pty ssh sftp" {
		t.Errorf("entries that are always there: %s", got)
	}
	for _, name := range l.Names() {
		family, entry := l.Of(name).Family, l.Entry(name)
		of := apps.Unknown
		if entry < len(l.Families()) {
			of = l.Families()[entry].Name
		}
		if !apps.IsName(name) || of != family {
			t.Errorf("the app %q is of the family %q and the entry %d", name, family, entry)
		}
	}
	if got := l.Entry("my_editor"); got != len(l.Families()) {
		t.Errorf("the entry of an app of no family is %d", got)
	}
}

// What definitions leave out stays as it was, and the list that is extended does not change.
func TestExtend(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	icon := apps.BuiltIn().Of("cursor").Icon
	l := apps.BuiltIn().Extend([]apps.FamilyDefinition{
		{Name: "acme_tools", DisplayName: "ACME", Icon: "/acme.svg", IDE: &yes},
		{Name: "plain"},
		{Name: apps.AI, Together: 5},
		{Name: apps.JetBrains, IDE: &no},
	}, []apps.AppDefinition{
		{Name: "acme_editor", Family: "acme_tools", DisplayName: "ACME Editor", Icon: "/editor.svg"},
		{Name: "acme_shell", Family: "acme_tools", IDE: &no},
		{Name: "acme_helper", Family: apps.AI},
		{Name: "emacs", IDE: &yes},
		{Name: "cursor", DisplayName: "Our Cursor"},
		{Name: "kiro", Family: apps.AI},
		{Name: "zed", Family: "plain"},
		{Name: "theia", Family: apps.JetBrains},
		{Name: "goose", Family: apps.Unknown},
	})
	for name, want := range map[string]struct {
		apps.App

		together int
	}{
		"acme_editor":     {apps.App{Family: "acme_tools", DisplayName: "ACME Editor", Icon: "/editor.svg", IDE: true}, 0},
		"acme editor":     {apps.App{Family: "acme_tools", DisplayName: "ACME Editor", Icon: "/editor.svg", IDE: true}, 0},
		"acme_shell":      {apps.App{Family: "acme_tools", DisplayName: "acme_shell"}, 0},
		"acme_helper":     {apps.App{Family: apps.AI, DisplayName: "acme_helper"}, 5},
		"claude_code":     {apps.App{Family: apps.AI, DisplayName: "Claude Code", Icon: "/icon/claude.svg"}, 5},
		"emacs":           {apps.App{Family: apps.Unknown, DisplayName: "emacs", IDE: true}, 0},
		"cursor":          {apps.App{Family: apps.VSCode, DisplayName: "Our Cursor", Icon: icon, IDE: true}, 0},
		"kiro":            {apps.App{Family: apps.AI, DisplayName: "Kiro", Icon: "/icon/kiro.svg"}, 5},
		"zed":             {apps.App{Family: "plain", DisplayName: "Zed", Icon: "/icon/zed.svg", IDE: true}, 0},
		"goland":          {apps.App{Family: apps.JetBrains, DisplayName: "GoLand", Icon: "/icon/goland.svg"}, 0},
		"theia":           {apps.App{Family: apps.JetBrains, DisplayName: "Theia", Icon: "/icon/theia.svg", IDE: true}, 0},
		"jetbrains_theia": {apps.App{Family: apps.JetBrains, DisplayName: "Theia", Icon: "/icon/theia.svg", IDE: true}, 0},
		"goose":           {apps.App{Family: apps.Unknown, DisplayName: "Goose", Icon: "/icon/goose.svg"}, 0},
		"my_editor":       {apps.App{Family: apps.Unknown, DisplayName: "my_editor"}, 0},
	} {
		if got := l.Of(name); got != want.App || l.Together(name) != want.together {
			t.Errorf("%s: %+v of %d people, want %+v", name, got, l.Together(name), want)
		}
	}
	families := len(apps.BuiltIn().Families())
	if got := l.Families()[families:]; !slices.Equal(got, []apps.Family{
		{Name: "acme_tools", DisplayName: "ACME", Icon: "/acme.svg", IDE: true}, {Name: "plain", DisplayName: "plain"},
	}) {
		t.Errorf("new families: %+v", got)
	}
	renamed := l.Extend([]apps.FamilyDefinition{{Name: apps.AI, DisplayName: "Robots"}}, nil)
	if f, _ := renamed.Family(apps.AI); f.DisplayName != "Robots" || f.Together != 5 {
		t.Errorf("a family that got another name: %+v", f)
	}
	before := apps.BuiltIn()
	if before.Of("cursor").DisplayName != "Cursor" || before.Together("claude_code") != 0 || before.Listed("acme_editor") {
		t.Error("the built-in list changed")
	}
}

func TestIsName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"ai": true, "claude_code": true, "a.b+c": true, "\u00fcber": true, strings.Repeat("a", 64): true,
		"": false, "Ai": false, "a-b": false, "a b": false, "a\tb": false, "a\u200bb": false, "\xff": false, strings.Repeat("a", 65): false,
	} {
		if got := apps.IsName(name); got != want {
			t.Errorf("%q is a name: %t", name, got)
		}
	}
}
