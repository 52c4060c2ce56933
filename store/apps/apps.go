// Package apps knows what people work with, by name: the family that an app belongs to, what people call it, and whether it is
// an IDE. Every question, every metric and the older activity API look an app up in the one table of this package while they
// answer, so what the table learns holds for the past as well.
//
// The package is pure: it does no I/O.
package apps

import "strings"

// Families of session apps.
const (
	VSCode          = "vscode"
	JetBrains       = "jetbrains"
	ReconnectingPTY = "reconnecting_pty"
	SSH             = "ssh"
	SFTP            = "sftp"
	Unknown         = "unknown" // of apps that belong to no family
)

// Family is a group of session apps. Answers show each family as one entry.
type Family struct {
	Name        string // one of the constants
	Slug        string
	DisplayName string
	Icon        string // path of a picture
}

// Families are the entries of every answer, in order. Unknown has no entry.
var Families = [...]Family{
	{VSCode, "vscode", "Visual Studio Code", "/icon/code.svg"},
	{JetBrains, "jetbrains", "JetBrains", "/icon/intellij.svg"},
	{ReconnectingPTY, "reconnecting-pty", "Web Terminal", "/icon/terminal.svg"},
	{SSH, "ssh", "SSH", "/icon/terminal.svg"},
	{SFTP, "sftp", "SFTP", "/icon/terminal.svg"},
}

// App is what is known of an app.
type App struct {
	Family      string // one of the constants
	DisplayName string // what people call it
	Icon        string // path of a picture; empty: none
	IDE         bool   // people program in it
}

// table holds the known apps. Their names are in the form in which session names are stored, lower case with _ for -. A session app
// of JetBrains may also have jetbrains_ before its name. The IDEs of no family are workspace apps.
var table = []struct {
	App

	names string // separated by blanks
}{
	{App{VSCode, "VS Code", "/icon/code.svg", true}, "vscode code visual_studio_code vscode_desktop vscode_remote"},
	{App{VSCode, "VS Code Insiders", "/icon/code-insiders.svg", true}, "vscode_insiders code_insiders"},
	{App{VSCode, "VS Code Web", "/icon/code.svg", true}, "vscode_web code_web vscode_tunnel code_tunnel"},
	{App{VSCode, "VS Code OSS", "/icon/code.svg", true}, "code_oss vscode_oss"},
	{App{VSCode, "code-server", "/icon/code.svg", true}, "code_server"},
	{App{VSCode, "OpenVSCode Server", "/icon/code.svg", true}, "openvscode_server openvscode"},
	{App{VSCode, "VSCodium", "/icon/vscodium.svg", true}, "vscodium codium vscodium_insiders codium_insiders"},
	{App{VSCode, "Cursor", "/icon/cursor.svg", true}, "cursor cursor_nightly"},
	{App{VSCode, "Windsurf", "/icon/windsurf.svg", true}, "windsurf windsurf_next windsurf_insiders"},
	{App{VSCode, "Positron", "/icon/positron.svg", true}, "positron positron_server"},
	{App{VSCode, "Antigravity", "/icon/antigravity.svg", true}, "antigravity google_antigravity"},
	{App{VSCode, "Trae", "/icon/trae.svg", true}, "trae trae_cn"},
	{App{VSCode, "Kiro", "/icon/kiro.svg", true}, "kiro"},
	{App{VSCode, "Devin", "/icon/devin.svg", true}, "devin"},
	{App{VSCode, "Void", "", true}, "void"},
	{App{VSCode, "PearAI", "", true}, "pearai"},
	{App{VSCode, "Qoder", "", true}, "qoder"},
	{App{VSCode, "CodeBuddy", "", true}, "codebuddy"},

	{App{JetBrains, "JetBrains", "/icon/intellij.svg", true}, "jetbrains"},
	{App{JetBrains, "JetBrains Gateway", "/icon/gateway.svg", true}, "gateway jetbrains_gw jetbrains_client"},
	{App{JetBrains, "JetBrains Toolbox", "/icon/toolbox.svg", true}, "toolbox toolbox_app jetbrains_tb"},
	{
		App{JetBrains, "IntelliJ IDEA", "/icon/intellij.svg", true},
		"intellij idea intellij_idea intellij_idea_ultimate intellij_idea_community idea_ultimate idea_community intellij_ultimate " +
			"intellij_community jetbrains_iu jetbrains_ic",
	},
	{
		App{JetBrains, "PyCharm", "/icon/pycharm.svg", true},
		"pycharm pycharm_professional pycharm_community jetbrains_py jetbrains_pc",
	},
	{App{JetBrains, "GoLand", "/icon/goland.svg", true}, "goland jetbrains_go"},
	{App{JetBrains, "WebStorm", "/icon/webstorm.svg", true}, "webstorm jetbrains_ws"},
	{App{JetBrains, "PhpStorm", "/icon/phpstorm.svg", true}, "phpstorm jetbrains_ps"},
	{App{JetBrains, "Rider", "/icon/rider.svg", true}, "rider jetbrains_rd"},
	{App{JetBrains, "CLion", "/icon/clion.svg", true}, "clion clion_nova jetbrains_cl"},
	{App{JetBrains, "RubyMine", "/icon/rubymine.svg", true}, "rubymine jetbrains_rm"},
	{App{JetBrains, "RustRover", "/icon/rustrover.svg", true}, "rustrover rust_rover jetbrains_rr"},
	{App{JetBrains, "DataGrip", "/icon/datagrip.svg", true}, "datagrip jetbrains_db"},
	{App{JetBrains, "DataSpell", "/icon/dataspell.svg", true}, "dataspell jetbrains_ds"},
	{App{JetBrains, "Aqua", "/icon/aqua.svg", true}, "aqua jetbrains_qa"},
	{App{JetBrains, "AppCode", "/icon/appcode.svg", true}, "appcode jetbrains_oc"},
	{App{JetBrains, "Fleet", "/icon/fleet.svg", true}, "fleet jetbrains_fl"},
	{App{JetBrains, "MPS", "/icon/mps.svg", true}, "mps"},
	{App{JetBrains, "Writerside", "/icon/writerside.svg", true}, "writerside jetbrains_wrs"},
	{App{JetBrains, "Android Studio", "/icon/android-studio.svg", true}, "android_studio jetbrains_ai"},
	{App{JetBrains, "Projector", "/icon/intellij.svg", true}, "projector"},

	{App{ReconnectingPTY, "Web Terminal", "/icon/terminal.svg", false}, "reconnecting_pty"},
	{App{SSH, "SSH", "/icon/terminal.svg", false}, "ssh"},
	{App{SSH, "Zed", "/icon/zed.svg", true}, "zed zed_preview"},
	{App{SFTP, "SFTP", "/icon/terminal.svg", false}, "sftp"},

	{App{Unknown, "Jupyter", "/icon/jupyter.svg", true}, "jupyter jupyterlab jupyter_lab jupyter_notebook notebook"},
	{App{Unknown, "RStudio", "/icon/rstudio.svg", true}, "rstudio rstudio_server"},
	{App{Unknown, "Theia", "/icon/theia.svg", true}, "theia"},
}

// byMaker begins names of session apps of JetBrains, also of those that the table does not hold.
const byMaker = JetBrains + "_"

// known is the table by name.
var known = func() map[string]App {
	apps := map[string]App{}
	for _, row := range table {
		for name := range strings.FieldsSeq(row.names) {
			apps[name] = row.App
			if row.Family == JetBrains && !strings.HasPrefix(name, JetBrains) {
				apps[byMaker+name] = row.App
			}
		}
	}
	return apps
}()

// Of returns what is known of an app by its name in the form in which session names are stored. An app that nobody knows is Unknown
// and called by its name.
func Of(name string) App {
	key := keyOf(name)
	if app, ok := known[key]; ok {
		return app
	}
	if strings.HasPrefix(key, byMaker) {
		return App{JetBrains, name, known[JetBrains].Icon, true}
	}
	return App{Unknown, name, "", false}
}

// keyOf is how the table writes a name: some write blanks where others have _.
func keyOf(name string) string { return strings.ReplaceAll(name, " ", "_") }

// Entry returns the place in Families of the family that an app belongs to; of an app of no family len(Families).
func Entry(name string) int {
	family := Of(name).Family
	for i, f := range Families {
		if f.Name == family {
			return i
		}
	}
	return len(Families)
}

// Listed reports whether the table holds a name: there are few of those, while agents may send any other.
func Listed(name string) bool {
	_, listed := known[keyOf(name)]
	return listed
}
