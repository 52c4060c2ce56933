package credential

import (
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

// honest are values that people choose for parameters, three of each kind.
var honest = map[string][]string{
	"branch": {"main", "feature/JIRA-1234-add-login-for-customers", "dependabot/npm_and_yarn/web/vite-7.1.2"},
	"git digest": {
		"3f786850e387550fdab836ed7e6dc881de23001b",
		"a8dd4f7",
		"9d5ed678fe57bcca610140957afab5714ddf4f7e0a1b2c3d4e5f60718293a4b5",
	},
	"image id": {
		"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"ami-0abcdef1234567890",
		"img-7f3c9e21",
	},
	"image": {
		"ghcr.io/acme/dev:1.25",
		"registry.acme.io:5000/team/go@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"docker://registry:5000/base@sha256:0d5f",
	},
	"repository": {
		"https://github.com/acme/monorepo.git",
		"https://git@gitlab.acme.io/group/sub/project.git",
		"https://acme.visualstudio.com/DefaultCollection/_git/Project%20One",
	},
	"dotfiles": {
		"https://github.com/ada/dotfiles",
		"git@github.com:ada/dotfiles.git",
		"https://ada@bitbucket.org/ada/dotfiles.git",
	},
	"URL over SSH": {"ssh://git@host.acme.io:2222/repo.git", "ssh://ada@10.0.0.7:22", "git+ssh://git@github.com/acme/x.git#v1.2.3"},
	"cron":         {"0 9 * * 1-5", "*/15 0 1,15 * 1-5", "CRON_TZ=Europe/Berlin 30 8 * * 1-5"},
	"size":         {"32", "64Gi", "t3.2xlarge"},
	"UUID": {
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
		"00000000-0000-0000-0000-000000000000",
		"F81D4FAE7DEC11D0A76500A0C91E6BF6",
	},
	"region":  {"eu-central-1", "us-east4-b", "Germany West Central"},
	"version": {"v1.2.3-rc.1+build.5", "24.04", "go1.26.1"},
	"e-mail":  {"ada@example.com", "first.last+tag@sub.example.org", "Ada Lovelace <ada@example.com>"},
	"base64":  {"dGVzdC1wcm9qZWN0LW5hbWU=", "Zm9vYmFyLXByb2plY3QtbmFtZS1mb3ItdGVzdDEy", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="},
	"path":    {"/home/coder/src/github.com/acme/x", `C:\Users\ada\Documents`, "~/.config/nvim"},
	"list":    {`["go","git","vim"]`, `["https://github.com/acme/a","https://github.com/acme/b"]`, "[]"},
	"public key": {
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmqFqZqk0yqJc6Qq0k3lV8f2hYcX0cQh7l1Hn9qk0aB ada@laptop",
		"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
		"-----BEGIN PUBLIC KEY-----",
	},
	"JSON":               {`{"cpu": 4, "disk": "20Gi"}`, `{"image": "ubuntu", "user": "ada"}`, "{}"},
	"flags and settings": {"--memory=4g --cpus=2", "PATH=/usr/local/bin:$PATH EDITOR=vim", "https://user:${PASSWORD}@proxy.acme.io:3128"},
	"digest of a packet": {
		"sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
		"h1:M5JQW5L+vZmkAqs9EX29hFQnn7uFz9sOQCPNewaZD9E=",
		"1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
	},
}

func TestHonestValues(t *testing.T) {
	t.Parallel()
	values := 0
	for kind, texts := range honest {
		for _, text := range texts {
			values++
			if In(text) {
				t.Errorf("%s %q is taken for a credential", kind, text)
			}
		}
	}
	if values != 60 || len(honest) != 20 {
		t.Errorf("%d values of %d kinds, want 60 of 20", values, len(honest))
	}
}

const (
	digits = "0123456789"
	hex    = digits + "abcdef"
	small  = "abcdefghijklmnopqrstuvwxyz"
	big    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	alnum  = digits + small + big
	text64 = alnum + "+/"
	url64  = alnum + "_-"
)

// tokens make credentials of a form each; take makes so many random characters of an alphabet.
var tokens = map[string]func(take taker) string{
	"GitHub, personal":     func(take taker) string { return "ghp_" + take(alnum, 36) },
	"GitHub, fine-grained": func(take taker) string { return "github_pat_" + take(alnum, 22) + "_" + take(alnum, 59) },
	"GitHub, of an app":    func(take taker) string { return "export GH_TOKEN=ghs_" + take(alnum, 36) },
	"GitLab, personal":     func(take taker) string { return "glpat-" + take(url64, 20) },
	"GitLab, of a runner":  func(take taker) string { return "glrt-" + take(url64, 20) },
	"Slack, bot": func(take taker) string {
		return "xoxb-" + take(digits, 12) + "-" + take(digits, 12) + "-" + take(alnum, 24)
	},
	"Slack, hook": func(take taker) string {
		return "https://hooks.slack.com/services/T" + take(big, 8) + "/B" + take(big, 8) + "/" + take(alnum, 24)
	},
	"AWS, key id":  func(take taker) string { return "AKIA" + take(big+"234567", 16) },
	"AWS, in docs": func(taker) string { return "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" },
	"AWS, secret":  func(take taker) string { return "wJ" + take(digits, 1) + "rXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY" },
	"GCP, API key": func(take taker) string { return "AIza" + take(url64, 35) },
	"GCP, service account": func(take taker) string {
		return `{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE` + take(text64, 60) + `\n"}`
	},
	"GCP, client secret":   func(take taker) string { return "GOCSPX-" + take(url64, 28) },
	"Azure, client secret": func(take taker) string { return take(alnum, 3) + "8Q~" + take(alnum+"_.-~", 34) },
	"Azure, storage key":   func(take taker) string { return take(text64, 86) + "==" },
	"Azure, connection string": func(take taker) string {
		return "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=" + take(text64, 86) + "=="
	},
	"Azure DevOps":    func(take taker) string { return take(small+"234567", 51) + "7" },
	"OpenAI, project": func(take taker) string { return "sk-proj-" + take(url64, 74) + "T3BlbkFJ" + take(url64, 74) },
	"OpenAI":          func(take taker) string { return "sk-" + take(alnum, 20) + "T3BlbkFJ" + take(alnum, 20) },
	"Anthropic":       func(take taker) string { return "sk-ant-api03-" + take(url64, 93) + "AA" },
	"Hugging Face":    func(take taker) string { return "hf_" + take(small+big, 34) },
	"npm":             func(take taker) string { return "npm_" + take(alnum, 36) },
	"npm, file":       func(take taker) string { return "//registry.npmjs.org/:_authToken=" + take(hex, 36) },
	"PyPI":            func(take taker) string { return "pypi-AgEIcHlwaS5vcmcC" + take(url64, 120) },
	"Stripe":          func(take taker) string { return "sk_live_" + take(alnum, 24) },
	"SendGrid":        func(take taker) string { return "SG." + take(url64, 22) + "." + take(url64, 43) },
	"Twilio":          func(take taker) string { return "SK" + take(hex, 32) },
	"Telegram":        func(take taker) string { return take("123456789", 10) + ":AA" + take(url64, 33) },
	"Discord":         func(take taker) string { return "M" + take(alnum, 23) + "." + take(alnum, 6) + "." + take(alnum, 38) },
	"JWT": func(take taker) string {
		return "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx" + take(alnum, 20) + "." + take(alnum, 43)
	},
	"Vault": func(take taker) string { return "hvs." + take(url64, 90) },
	"Coder": func(take taker) string { return take(alnum, 10) + "-q7Rk2" + take(digits, 1) + "XbT4mW9sLcV1zHdY" },
	"Coder, in a setting": func(take taker) string {
		return "CODER_URL=https://coder.acme.io CODER_SESSION_TOKEN=" + take(alnum, 10) + "-q7Rk2" + take(digits, 1) + "XbT4mW9sLcV1zHdY"
	},
	"setting":      func(take taker) string { return "DB_USER=app DB_PASSWORD=" + take(alnum, 12) },
	"flag":         func(take taker) string { return "--db-password=" + take(alnum, 12) + " --port=5432" },
	"Docker":       func(take taker) string { return "dckr_pat_" + take(url64, 27) },
	"DigitalOcean": func(take taker) string { return "dop_v1_" + take(hex, 64) },
	"age":          func(take taker) string { return "AGE-SECRET-KEY-1" + take("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58) },
	"OpenSSH": func(take taker) string {
		return "-----BEGIN OPENSSH PRIVATE KEY-----\n" + take(text64, 70) + "\n-----END OPENSSH PRIVATE KEY-----"
	},
	"PGP": func(take taker) string { return "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + take(text64, 64) },
	"PEM in base64": func(take taker) string {
		return base64.StdEncoding.EncodeToString([]byte("-----BEGIN RSA PRIVATE KEY-----\n" + take(text64, 64)))
	},
	"URL with a password": func(take taker) string {
		return "postgres://app:" + take(alnum, 8) + "@db.acme.io:5432/app?sslmode=require"
	},
	"git URL with a password": func(take taker) string { return "https://oauth2:" + take(alnum, 20) + "@git.acme.io/team/repo.git" },
	"this service":            func(take taker) string { return "tia_" + take(digits+small, 10) + "_" + take(digits+small, 32) },
	"list with a URL in it": func(take taker) string {
		return `["https://acme.io/a","https://ada:` + take(alnum, 10) + `@acme.io/b"]`
	},
	"DSN of MySQL":      func(take taker) string { return "app:" + take(alnum, 12) + "@tcp(db:3306)/app" },
	"connection string": func(take taker) string { return "Server=db;Database=app;User Id=app;Password=" + take(alnum, 12) + ";" },
	"signed URL": func(take taker) string {
		return "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=" + take(hex, 64)
	},
	"header":     func(take taker) string { return "Authorization: Bearer " + take(alnum, 24) },
	"Databricks": func(take taker) string { return "dapi" + take(hex, 32) },
	"Grafana":    func(take taker) string { return "glsa_" + take(alnum, 32) + "_" + take(hex, 8) },
	"Atlassian":  func(take taker) string { return "ATATT3xFfGF0" + take(url64, 170) + "=" + take(hex, 8) },
	"Tailscale":  func(take taker) string { return "tskey-auth-" + take(alnum, 12) + "CNTRL-" + take(alnum, 32) },
	"Terraform":  func(take taker) string { return take(alnum, 14) + ".atlasv1." + take(alnum, 67) },
}

type taker = func(alphabet string, n int) string

// Every form is found whatever its random part is, alone and within other text.
func TestTokens(t *testing.T) {
	t.Parallel()
	if len(tokens) < 40 {
		t.Errorf("%d forms, want 40", len(tokens))
	}
	random := rand.New(rand.NewPCG(1, 2))
	take := func(alphabet string, n int) string {
		text := make([]byte, n)
		for i := range text {
			text[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(text)
	}
	for name, token := range tokens {
		for range 100 {
			if text := token(take); !In(text) {
				t.Errorf("%s: %q is not found", name, text)
				break
			}
		}
	}
}

// A password that is a reference or absent is none.
func TestReferences(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://ada:hunter2@acme.io":                         true,
		"https://:hunter2@acme.io":                            true,
		"https://ada:$PASSWORD@acme.io":                       false,
		"https://ada:{{secret}}@acme.io":                      false,
		"https://ada:<password>@acme.io":                      false,
		"https://ada:****@acme.io":                            false,
		"https://ada:@acme.io":                                false,
		"require_password=true":                               false,
		"DB_PASSWORD=$DB_PASSWORD":                            false,
		"CODER_TEMPLATE=kubernetes-developmentenvironment":    false,
		"https://ada@acme.io:8080/a:b@c":                      false,
		"https://acme.io:8080/x/a:b@c.io":                     false,
		"https://ada:$PASSWORD@a.io https://ada:hunter2@b.io": true,
	} {
		if In(text) != want {
			t.Errorf("%q: %v, want %v", text, !want, want)
		}
	}
}

func BenchmarkIn(b *testing.B) {
	for b.Loop() {
		In("https://github.com/acme/monorepo.git")
	}
}
