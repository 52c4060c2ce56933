package apps

import "strings"

// builtIn is the list that is not extended.
var builtIn = newBuiltIn()

func newBuiltIn() *List {
	isIDE := true
	none := &List{entries: map[string]int{}, apps: map[string]AppDefinition{}}
	l := none.Extend([]FamilyDefinition{
		{Name: VSCode, DisplayName: "Visual Studio Code", Icon: "/icon/code.svg", IDE: &isIDE},
		{Name: JetBrains, DisplayName: "JetBrains", Icon: "/icon/intellij.svg", IDE: &isIDE},
		{Name: ReconnectingPTY, DisplayName: "Web Terminal", Icon: "/icon/terminal.svg"},
		{Name: SSH, DisplayName: "SSH", Icon: "/icon/terminal.svg"},
		{Name: SFTP, DisplayName: "SFTP", Icon: "/icon/terminal.svg"},
	}, nil)
	for i := range l.families {
		l.families[i].Always = true // dashboards count on their entries
	}
	var apps []AppDefinition
	for _, row := range table {
		for name := range strings.FieldsSeq(row.names) {
			d := AppDefinition{Name: name, Family: row.family, DisplayName: row.displayName, Icon: row.icon}
			if row.ide {
				d.IDE = &isIDE
			}
			apps = append(apps, d)
		}
	}
	return l.Extend([]FamilyDefinition{{Name: AI, DisplayName: "AI Tools"}}, apps)
}

// table holds the known apps. Their names are in the form in which session names are stored, lower case with _ for -. The IDEs of no
// family are workspace apps.
var table = []struct {
	family, displayName, icon string
	ide                       bool   // although its family is not
	names                     string // separated by blanks
}{
	{VSCode, "VS Code", "/icon/code.svg", false, "vscode code visual_studio_code vscode_desktop vscode_remote"},
	{VSCode, "VS Code Insiders", "/icon/code-insiders.svg", false, "vscode_insiders code_insiders"},
	{VSCode, "VS Code Web", "/icon/code.svg", false, "vscode_web code_web vscode_tunnel code_tunnel"},
	{VSCode, "VS Code OSS", "/icon/code.svg", false, "code_oss vscode_oss"},
	{VSCode, "code-server", "/icon/code.svg", false, "code_server"},
	{VSCode, "OpenVSCode Server", "/icon/code.svg", false, "openvscode_server openvscode"},
	{VSCode, "VSCodium", "/icon/vscodium.svg", false, "vscodium codium vscodium_insiders codium_insiders"},
	{VSCode, "Cursor", "/icon/cursor.svg", false, "cursor cursor_nightly"},
	{VSCode, "Windsurf", "/icon/windsurf.svg", false, "windsurf windsurf_next windsurf_insiders"},
	{VSCode, "Positron", "/icon/positron.svg", false, "positron positron_server"},
	{VSCode, "Antigravity", "/icon/antigravity.svg", false, "antigravity google_antigravity"},
	{VSCode, "Trae", "/icon/trae.svg", false, "trae trae_cn"},
	{VSCode, "Kiro", "/icon/kiro.svg", false, "kiro"},
	{VSCode, "Devin", "/icon/devin.svg", false, "devin"},
	{VSCode, "Void", "", false, "void"},
	{VSCode, "PearAI", "", false, "pearai"},
	{VSCode, "Qoder", "", false, "qoder"},
	{VSCode, "CodeBuddy", "", false, "codebuddy"},

	{JetBrains, "JetBrains", "/icon/intellij.svg", false, "jetbrains"},
	{JetBrains, "JetBrains Gateway", "/icon/gateway.svg", false, "gateway jetbrains_gw jetbrains_client"},
	{JetBrains, "JetBrains Toolbox", "/icon/toolbox.svg", false, "toolbox toolbox_app jetbrains_tb"},
	{
		JetBrains, "IntelliJ IDEA", "/icon/intellij.svg", false,
		"intellij idea intellij_idea intellij_idea_ultimate intellij_idea_community idea_ultimate idea_community intellij_ultimate " +
			"intellij_community jetbrains_iu jetbrains_ic",
	},
	{JetBrains, "PyCharm", "/icon/pycharm.svg", false, "pycharm pycharm_professional pycharm_community jetbrains_py jetbrains_pc"},
	{JetBrains, "GoLand", "/icon/goland.svg", false, "goland jetbrains_go"},
	{JetBrains, "WebStorm", "/icon/webstorm.svg", false, "webstorm jetbrains_ws"},
	{JetBrains, "PhpStorm", "/icon/phpstorm.svg", false, "phpstorm jetbrains_ps"},
	{JetBrains, "Rider", "/icon/rider.svg", false, "rider jetbrains_rd"},
	{JetBrains, "CLion", "/icon/clion.svg", false, "clion clion_nova jetbrains_cl"},
	{JetBrains, "RubyMine", "/icon/rubymine.svg", false, "rubymine jetbrains_rm"},
	{JetBrains, "RustRover", "/icon/rustrover.svg", false, "rustrover rust_rover jetbrains_rr"},
	{JetBrains, "DataGrip", "/icon/datagrip.svg", false, "datagrip jetbrains_db"},
	{JetBrains, "DataSpell", "/icon/dataspell.svg", false, "dataspell jetbrains_ds"},
	{JetBrains, "Aqua", "/icon/aqua.svg", false, "aqua jetbrains_qa"},
	{JetBrains, "AppCode", "/icon/appcode.svg", false, "appcode jetbrains_oc"},
	{JetBrains, "Fleet", "/icon/fleet.svg", false, "fleet jetbrains_fl"},
	{JetBrains, "MPS", "/icon/mps.svg", false, "mps"},
	{JetBrains, "Writerside", "/icon/writerside.svg", false, "writerside jetbrains_wrs"},
	{JetBrains, "Android Studio", "/icon/android-studio.svg", false, "android_studio jetbrains_ai"},
	{JetBrains, "Projector", "/icon/intellij.svg", false, "projector"},

	{ReconnectingPTY, "Web Terminal", "/icon/terminal.svg", false, "reconnecting_pty"},
	{SSH, "SSH", "/icon/terminal.svg", false, "ssh"},
	{SSH, "Zed", "/icon/zed.svg", true, "zed zed_preview"},
	{SFTP, "SFTP", "/icon/terminal.svg", false, "sftp"},

	{AI, "Claude Code", "/icon/claude.svg", false, "claude_code claude"},
	{AI, "Codex", "/icon/openai.svg", false, "codex codex_cli openai_codex"},
	{AI, "Gemini CLI", "/icon/gemini.svg", false, "gemini_cli gemini"},
	{AI, "OpenCode", "/icon/opencode.svg", false, "opencode"},
	{AI, "Aider", "/icon/aider.svg", false, "aider"},
	{AI, "GitHub Copilot CLI", "/icon/github-copilot.svg", false, "copilot_cli copilot github_copilot github_copilot_cli gh_copilot"},
	{AI, "Goose", "/icon/goose.svg", false, "goose"},
	{AI, "Amp", "/icon/sourcegraph-amp.svg", false, "amp sourcegraph_amp"},
	{AI, "Amazon Q", "/icon/amazon-q.svg", false, "amazon_q amazon_q_cli q_cli"},
	{AI, "Kiro CLI", "/icon/kiro.svg", false, "kiro_cli"},
	{AI, "Cursor CLI", "/icon/cursor.svg", false, "cursor_cli cursor_agent"},
	{AI, "Auggie", "/icon/auggie.svg", false, "auggie augment_cli"},
	{AI, "Cline", "", false, "cline cline_cli"},
	{AI, "Continue CLI", "", false, "continue_cli"},
	{AI, "Crush", "", false, "crush"},
	{AI, "Droid", "", false, "factory_droid"},
	{AI, "OpenHands", "", false, "openhands openhands_cli"},
	{AI, "Plandex", "", false, "plandex"},
	{AI, "Qwen Code", "", false, "qwen_code"},

	{Unknown, "Jupyter", "/icon/jupyter.svg", true, "jupyter jupyterlab jupyter_lab jupyter_notebook notebook"},
	{Unknown, "RStudio", "/icon/rstudio.svg", true, "rstudio rstudio_server"},
	{Unknown, "Theia", "/icon/theia.svg", true, "theia"},
}
