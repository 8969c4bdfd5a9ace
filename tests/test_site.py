"""The site, built once: without a warning, and seen by a browser as wide as a phone."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_docs import poor_pictures

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

# Shows each page in a frame of 390 pixels, and says what is wrong with it.
VISIT = """<body><script>
async function visit(page) {
  const frame = document.body.appendChild(document.createElement("iframe"));
  frame.style = "width: 390px; height: 800px; border: 0";
  await new Promise(done => { frame.onload = done; frame.src = page; });
  return frame.contentDocument;
}
function scrolls(part, seen) {  // or is inside of what scrolls
  const style = seen.defaultView.getComputedStyle(part);
  if (/auto|scroll/.test(style.overflowX)) return true;
  return part.tagName != "ARTICLE" && scrolls(part.parentElement, seen);
}
(async () => {
  const found = {};
  for (const page of PAGES) {
    const seen = await visit(page), width = seen.documentElement.clientWidth;
    const wide = [...seen.querySelectorAll("article *")].filter(
      part => part.getBoundingClientRect().right > width + 1 && !scrolls(part, seen));
    const broken = [...seen.images].filter(image => !image.naturalWidth);
    const bad = [...broken, ...wide].slice(0, 3).map(part => part.outerHTML.slice(0, 99));
    if (bad.length) found[page] = bad;
    seen.defaultView.frameElement.remove();
  }
  const search = await visit("search.html?q=capacity");
  const said = () => /found (\\d+) page/.exec(search.body.textContent);
  while (!said()) await new Promise(done => setTimeout(done, 50));
  found.search = Number(said()[1]);
  document.title = JSON.stringify(found);
})();
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", ROOT / "docs", folder / "site"]
    options = ["-D", "execute_notebooks=0", "-d", folder / "doctrees"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def pages(site: Path) -> list[Path]:
    return [path for path in site.glob("**/*.html") if "_modules" not in path.parts]


def test_every_page_is_built(site):
    built = {path.relative_to(site).with_suffix("") for path in pages(site)}
    sources = [
        path.relative_to(ROOT / "docs") for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts
    ]
    assert {path.with_suffix("") for path in sources} <= built and len(sources) > 60
    for path in pages(site):
        text = path.read_text(encoding="utf-8")
        assert "TypeAliasForwardRef" not in text, path
        assert not re.search(r'<(script|link|img)[^>]* (src|href)="(https?:)?//', text), "needs a network"
        assert not poor_pictures(text), path
    downloads = {path.name for path in site.glob("_downloads/*/*.ipynb")}
    assert downloads == {f"{path.stem}.ipynb" for path in ROOT.glob("docs/notebooks/*.md")}


def test_formulas_are_mathml(site):
    text = (site / "tutorials/text.html").read_text(encoding="utf-8")
    assert (
        '<div class="formula"><math display="block">' in text
        and "<math><msub><mi>h</mi><mi>t</mi></msub></math>" in text
    )
    for path in pages(site):
        prose = re.sub(r"<pre>.*?</pre>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"\\(begin|text|frac|sum)\b", prose), path


def test_arguments_stand_below_each_other_without_their_types(site):
    text = (site / "reference/rnn.html").read_text(encoding="utf-8")
    signature = html.unescape(
        re.sub(r"<[^>]+>", "", re.search(r'id="fastrec.RNN">.*?</dt>', text, re.DOTALL)[0])
    )
    assert re.search(r"^\s*input_size,$\n+^\s*hidden_size,$", signature, re.MULTILINE), signature
    assert "cell='elman'" in signature and "Literal" not in signature


def test_pages_fit_a_phone_and_search_finds(site, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    names = [path.relative_to(site).as_posix() for path in pages(site)]
    (site / "visit.htm").write_text(VISIT.replace("PAGES", json.dumps(names)), encoding="utf-8")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
        switches += f"disable-component-update disable-sync user-data-dir={tmp_path} enable-logging=stderr "
        switches += "virtual-time-budget=600000 dump-dom"
        command = [browser, *(f"--{switch}" for switch in switches.split())]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{server.server_port}/visit.htm"], capture_output=True, text=True
        )
        server.shutdown()
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, done.stdout + done.stderr
    found = json.loads(html.unescape(title[1]))
    assert found.pop("search") > 5
    assert not found
    assert "CONSOLE" not in done.stderr, done.stderr
