package credential

import "regexp"

// form is a form of credentials.
type form struct {
	marks   []string       // of which every text of the form holds one: looking for them is quick
	pattern *regexp.Regexp // with one group: the password, which may be a reference
}

func newForm(pattern string, marks ...string) form {
	return form{marks, regexp.MustCompile(pattern)}
}

// forms are the forms that are recognized wherever they stand in a text.
var forms = []form{
	// Private keys, also in base64.
	newForm(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`, "-----BEGIN "),
	newForm(`LS0tLS1CRUdJTi(?:BPUEVOU1NIIFBSSVZBVEUg|BSU0EgUFJJVkFURSB|BFQyBQUklWQVRFIE|BQUklWQVRFIE|BFTkNSWVBURUQgUFJJVkFURS|`+
		`BQR1AgUFJJVkFURS)`, "LS0tLS1CRUdJTi"),
	newForm(`AGE-SECRET-KEY-1[0-9A-Z]{20,}|AGE-PLUGIN-[0-9A-Z-]+-1[0-9A-Z]{20,}`, "AGE-SECRET-KEY-1", "AGE-PLUGIN-"),
	newForm(`PuTTY-User-Key-File-[0-9]`, "PuTTY-User-Key-File-"),
	newForm(`PrivateKey\s*=\s*[0-9A-Za-z+/]{43}=`, "PrivateKey"),

	// URLs and other texts with a password.
	newForm(`[A-Za-z][0-9A-Za-z+.-]*://[^\s/?#:@]*:([^\s/?#@]+)@[^\s/?#]`, "://"),
	newForm(`[^\s:@/]+:([^\s@/]+)@(?:tcp|tcp6|unix)\(`, "@tcp", "@unix("),
	newForm(`(?i)(?:^|[;\s"'])(?:[0-9a-z_-]*(?:password|passwd)|pwd)=["']?([^\s;&"']+)`, "assword=", "ASSWORD=", "asswd=", "wd=", "WD="),
	newForm(`(?i)[?&](?:access_token|private_token|auth_token|client_secret|api_?key|password|token|sig)=([^\s&#]{10,})`,
		"token=", "secret=", "key=", "Key=", "KEY=", "password=", "sig="),
	newForm(`(?i)\bauthorization\s*[:=]\s*["']?(?:basic|bearer|token)\s+([^\s"']{8,})`, "uthorization", "UTHORIZATION"),
	newForm(`(?i)^\s*bearer\s+([0-9a-z._~+/=-]{16,})\s*$`, "earer ", "EARER "),
	newForm(`(?i)_auth(?:token)?\s*=\s*["']?([^\s"']{10,})`, "_auth"),
	newForm(`"auth"\s*:\s*"([0-9A-Za-z+/=]{12,})"`, `"auth"`),
	newForm(`\bX-Amz-Signature=[0-9a-f]{64}`, "X-Amz-Signature="),

	// Code and packages.
	newForm(`\bgh[oprsu]_[0-9A-Za-z]{30,}|\bgithub_pat_[0-9A-Za-z_]{30,}`, "gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_"),
	newForm(`\bgl(?:pat|ptt|dt|rt|rtr|cbt|soat|ft|ffct|imt|agent|oas|wt)-[0-9A-Za-z_=.-]{20,}`, "gl"),
	newForm(`\bGR1348941[0-9A-Za-z_-]{20}`, "GR1348941"),
	newForm(`\bAT[AC]TT3[0-9A-Za-z_=-]{40,}|\bATBB[0-9A-Za-z]{24,}`, "ATATT3", "ATCTT3", "ATBB"),
	newForm(`\bnpm_[0-9A-Za-z]{36}`, "npm_"),
	newForm(`\bpypi-Ag[0-9A-Za-z_-]{50,}`, "pypi-Ag"),
	newForm(`\brubygems_[0-9a-f]{48}`, "rubygems_"),
	newForm(`\bcio[0-9A-Za-z]{32}\b`, "cio"),
	newForm(`\boy2[0-9a-z]{43}\b`, "oy2"),
	newForm(`\bdckr_[a-z]+_[0-9A-Za-z_-]{24,}`, "dckr_"),
	newForm(`\bAKCp[0-9A-Za-z]{60,}|\bcmVmdGtu[0-9A-Za-z]{50,}`, "AKCp", "cmVmdGtu"),
	newForm(`\bsq[apu]_[0-9a-f]{40}\b`, "sqa_", "sqp_", "squ_"),
	newForm(`\bbku[ar]_[0-9a-f]{40}\b|\bCCIP(?:AT|RJ)_[0-9A-Za-z]+_[0-9a-f]{40}\b`, "bkua_", "bkur_", "CCIP"),

	// Clouds and infrastructure.
	newForm(`\b(?:A3T[0-9A-Z]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}\b`,
		"A3T", "ABIA", "ACCA", "AKIA", "ASIA"),
	newForm(`(?i)aws_?secret_?access_?key["']?\s*[:=]\s*["']?([0-9a-z/+]{40})`, "ecret", "ECRET"),
	newForm(`\bAIza[0-9A-Za-z_-]{35}`, "AIza"),
	newForm(`\bGOCSPX-[0-9A-Za-z_-]{20,}|\bya29\.[0-9A-Za-z_.-]{20,}`, "GOCSPX-", "ya29."),
	newForm(`(?:^|[\s"'=])1//0[0-9A-Za-z_-]{30,}`, "1//0"),
	newForm(`(?:^|[^0-9A-Za-z_~.-])[0-9A-Za-z_~.-]{3}[0-9]Q~[0-9A-Za-z_~.-]{31,34}`, "Q~"),
	newForm(`(?:^|[\s=;"'])[0-9A-Za-z+/]{86}==`, "=="), // not sha512-…
	newForm(`(?i)\b(?:AccountKey|SharedAccessKey|SharedAccessSignature)\s*=\s*([^\s;"']{16,})`,
		"ccountKey", "haredAccess", "ccountkey", "haredaccess"),
	newForm(`\b[0-9A-Za-z]{76}AZDO[0-9A-Za-z]{4}\b`, "AZDO"),
	newForm(`\bdo[oprt]_v1_[0-9a-f]{64}`, "_v1_"),
	newForm(`\bLTAI[0-9A-Za-z]{12,26}\b|\bAKID[0-9A-Za-z]{32}\b`, "LTAI", "AKID"),
	newForm(`\bhv[bsr]\.[0-9A-Za-z_-]{24,}`, "hvb.", "hvs.", "hvr."),
	newForm(`^\s*[bs]\.[0-9A-Za-z]{24}\s*$`, "b.", "s."),
	newForm(`\b[0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_=-]{40,}`, ".atlasv1."),
	newForm(`\bpul-[0-9a-f]{40}\b`, "pul-"),
	newForm(`\bdapi[0-9a-f]{32}`, "dapi"),
	newForm(`\btskey-[a-z]+-[0-9A-Za-z-]{10,}`, "tskey-"),
	newForm(`\bdp\.(?:audit|ct|pt|sa|scim|st)\.[0-9A-Za-z_.-]{40,}`, "dp."),
	newForm(`\bv1\.0-[0-9a-f]{24}-[0-9a-f]{140,}`, "v1.0-"),
	newForm(`\bHRKU-[0-9A-Za-z_-]{30,}`, "HRKU-"),
	newForm(`\bFlyV1 fm[0-9]|\bfm2_[0-9A-Za-z+/=]{40,}|\bfo1_[0-9A-Za-z_-]{40,}`, "FlyV1 ", "fm2_", "fo1_"),
	newForm(`\bnfp_[0-9A-Za-z]{36,}|\bvc[aipkr]_[0-9A-Za-z]{24,}`, "nfp_", "vca_", "vci_", "vcp_", "vck_", "vcr_"),
	newForm(`\bsbp_[0-9a-f]{40}|\bsb_secret_[0-9A-Za-z_-]{20,}|\bpscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.=-]{30,}`,
		"sbp_", "sb_secret_", "pscale_"),
	newForm(`\bops_eyJ[0-9A-Za-z_-]{50,}`, "ops_eyJ"),
	newForm(`\btia_[0-9A-Za-z_]{20,}`, "tia_"),

	// Observability.
	newForm(`\bglsa_[0-9A-Za-z]{32}_[0-9a-f]{8}|\bglc_eyJ[0-9A-Za-z+/=]{20,}`, "glsa_", "glc_eyJ"),
	newForm(`\bsntrys_eyJ[0-9A-Za-z_+/=-]{20,}|\bsntryu_[0-9a-f]{64}`, "sntrys_", "sntryu_"),
	newForm(`\bNRAK-[0-9A-Z]{27}`, "NRAK-"),

	// Models.
	newForm(`\bsk-ant-[a-z]+[0-9]*-[0-9A-Za-z_-]{20,}`, "sk-ant-"),
	newForm(`\bsk-(?:admin|None|proj|svcacct|service)-[0-9A-Za-z_-]{40,}|\bsk-or-v1-[0-9a-f]{64}|\bsk-[0-9A-Za-z]{32,}\b`, "sk-"),
	newForm(`\bhf_[0-9A-Za-z]{30,}|\bapi_org_[0-9A-Za-z]{30,}`, "hf_", "api_org_"),
	newForm(`\bgsk_[0-9A-Za-z]{40,}|\bxai-[0-9A-Za-z]{60,}|\bpplx-[0-9A-Za-z]{40,}|\br8_[0-9A-Za-z]{37}\b`, "gsk_", "xai-", "pplx-", "r8_"),

	// Messages, payment and other services.
	newForm(`\bxox[a-z](?:\.xox[a-z])?-(?:[0-9]+-[0-9A-Za-z-]{10,}|[0-9A-Za-z%+/=]{24,})|\bxapp-[0-9]-[0-9A-Za-z-]{20,}`, "xox", "xapp-"),
	newForm(`hooks\.slack\.com/(?:services|triggers|workflows)/[0-9A-Za-z/_-]{20,}`, "hooks.slack.com/"),
	newForm(`discord(?:app)?\.com/api/webhooks/[0-9]+/[0-9A-Za-z_-]{40,}`, "/api/webhooks/"),
	newForm(`webhook\.office\.com/webhookb2/[0-9A-Za-z@/-]{40,}`, "/webhookb2/"),
	newForm(`\b[MNO][0-9A-Za-z_-]{23,27}\.[0-9A-Za-z_-]{6}\.[0-9A-Za-z_-]{27,}`, "."),
	newForm(`\b[0-9]{8,10}:AA[0-9A-Za-z_-]{33}`, ":AA"),
	newForm(`\bSK[0-9a-f]{32}\b`, "SK"),
	newForm(`\bSG\.[0-9A-Za-z_-]{16,32}\.[0-9A-Za-z_-]{32,}`, "SG."),
	newForm(`\bkey-[0-9a-f]{32}\b`, "key-"),
	newForm(`\b[0-9a-f]{32}-us[0-9]{1,2}\b`, "-us"),
	newForm(`\b[rs]k_(?:live|test)_[0-9A-Za-z]{10,}|\bwhsec_[0-9A-Za-z+/=]{24,}`, "k_live_", "k_test_", "whsec_"),
	newForm(`\bshp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}`, "shp"),
	newForm(`\bsq0[a-z]{3}-[0-9A-Za-z_-]{22,}`, "sq0"),
	newForm(`\blin_api_[0-9A-Za-z]{30,}|\bntn_[0-9A-Za-z]{40,}|\bsecret_[0-9A-Za-z]{43}\b|\bfigd_[0-9A-Za-z_-]{30,}`,
		"lin_api_", "ntn_", "secret_", "figd_"),
	newForm(`\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}`, "PMAK-"),
	newForm(`\bpat[0-9A-Za-z]{14}\.[0-9a-f]{64}`, "pat"),

	// JSON web tokens, signed and encrypted.
	newForm(`\beyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]*\.[0-9A-Za-z_.-]{10,}`, "eyJ"),
}
