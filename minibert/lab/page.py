"""How a page of the site looks."""

PAGE = """\
<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<nav>{links}</nav>
<main>
{body}
</main>
<nav>{links}</nav>
</body>
</html>
"""
STYLE = """\
body { font: 17px/1.55 system-ui, sans-serif; color: #1f2328; background: #fff; margin: 0 auto; padding: 16px;
  max-width: 800px; }
nav { color: #57606a; font-size: 14px; margin: 8px 0 16px; }
a { color: #0a58ca; }
h1 { font-size: 30px; line-height: 1.2; margin: 24px 0 12px; }
h2 { font-size: 23px; margin: 40px 0 8px; padding-bottom: 4px; border-bottom: 1px solid #d8dee4; }
h3 { font-size: 18px; margin: 28px 0 6px; }
code { font: 0.88em ui-monospace, Menlo, Consolas, monospace; background: #f3f4f6; padding: 1px 4px;
  border-radius: 3px; }
pre { font: 13.5px/1.45 ui-monospace, Menlo, Consolas, monospace; margin: 0; overflow-x: auto; }
pre code { background: none; padding: 0; font: inherit; }
table { border-collapse: collapse; }
main > table { margin: 12px 0; font-size: 15px; }
main > table td, main > table th { border: 1px solid #d8dee4; padding: 4px 10px; text-align: left; }
blockquote { margin: 12px 0; padding: 2px 16px; border-left: 4px solid #d8dee4; color: #57606a; }
math { font-size: 1.08em; }
.equation { display: flex; align-items: center; margin: 8px 0; padding: 6px 0; overflow-x: auto; }
.equation > .formula { flex: 1; text-align: center; }
.equation > .tag { color: #57606a; padding-left: 12px; }
.cell { margin: 14px 0; border: 1px solid #d8dee4; border-radius: 6px; overflow: hidden; }
.cell > .code { background: #f6f8fa; padding: 10px 12px; }
.cell > .out { padding: 10px 12px; border-top: 1px solid #eaeef2; overflow-x: auto; }
.cell img { max-width: 100%; }
.hll { background: none; }
"""
