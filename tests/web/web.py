#!/usr/bin/python3
"""Cases of web.sh: the dashboard as people have it. With words: only the cases whose name has one of them."""
import json, os, re, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import coordinator
from browser import Browser
from coordinator import FAST, NO_RELAY, case, equal
from meshclient import Agent, Coordinator, Ws, wait_until

del coordinator.cases[:]
coordinator.LABEL = "web"
PASSWORD = "correct horse battery"
HOSTILE = "<img src=x onerror=alert(1)>"
VIEWS = ("agents", "routes", "keys", "devices", "networks", "policy", "users", "relays", "audit")
LIMIT = 60000 # bytes of the whole page
REFUSED = "Failed to load resource: the server responded with a status of %d"
browser = None


def first_link(co):
    return wait_until(lambda: re.search(r"https://\S+/#login=\S+", co.read("out"))).group()


def quiet(page, *statuses):
    """Nothing in the console, and no violation of the policy, but answers that were asked for."""
    wrong = [e for e in page.errors if not any(REFUSED % status in e for status in statuses)]
    equal(wrong, [], "the console")


def log_in(page, co, name, password=PASSWORD):
    page.go(co.origin + "/")
    page.fill("User", name)
    page.fill("Password", password)
    page.click("Log in")


def administrator(co, **size):
    """A page that is logged in, with a password set."""
    co.admin("user", "passwd", "admin", stdin=PASSWORD + "\n")
    page = browser.page(**size)
    log_in(page, co, "admin")
    page.wait("document.querySelector('#live.on')")
    quiet(page, 401) # nobody was logged in yet
    page.errors.clear()
    return page


def view(page, name):
    page.js("location.hash = %s" % json.dumps(name))
    page.wait("document.querySelector('nav [aria-current]')?.id === 'nav-%s'" % name)


def mesh(co):
    """Agents that have something to show; the streams must be kept."""
    co.admin("network", "create", "lab", "--cidr", "10.210.0.0/16", "--approve")
    key = co.key("--reusable", "--tag", "server")
    one = Agent(co, "nas").register(key, advertised_routes=["192.168.1.0/24", "fd99:1234:5678:9abc::/64"])
    two = Agent(co, "a-name-that-is-as-long-as-a-name-may-be-and-not-one-more-letter").register(key)
    Agent(co, "guest").register(co.key("--network", "lab"))
    streams = [one.stream(), two.stream()]
    streams[0].send({"type": "endpoint", "endpoint": "198.51.100.7:51820", "nat_type": "full_cone"})
    return one, two, streams


@case("the link of the first start logs in once, and leads to a password")
def _(co):
    link = first_link(co)
    page = browser.page(link)
    page.sees("This link logs you in, once.")
    equal(page.js("location.href"), co.origin + "/", "the secret stays in the address")
    page.click("Log in")
    page.sees("Nobody has joined yet")
    page.sees("Your link is used up")
    secret = link.partition("=")[2]
    equal([r["url"] for r in page.requests if secret in r["url"]], [])
    assert secret not in co.log() and secret not in co.admin("audit")
    page.fill("Password", "half")
    Agent(co, "early").register(co.key())
    page.sees("early", "table")
    equal(page.js("document.querySelector('[type=password]').value"), "half", "what was being written")
    co.admin("agent", "remove", "early")
    page.fill("Password", "short")
    page.click("Set the password")
    page.sees("a password has 10 to", ".notice [role=alert]")
    page.fill("Password", PASSWORD)
    page.click("Set the password")
    page.wait("!document.querySelector('.notice')")
    quiet(page, 401, 422)
    page.close()
    again = browser.page(link)
    again.click("Log in")
    again.sees("this link was used already, has ended or was taken back", "[role=alert]")
    again.click("Use a password instead")
    again.fill("User", "admin")
    again.fill("Password", "a wrong password")
    again.click("Log in")
    again.sees("user or password is wrong", "[role=alert]")
    again.fill("Password", PASSWORD)
    again.click("Log in")
    again.sees("Nobody has joined yet")
    assert "Your link is used up" not in again.text()
    again.click("Log out")
    again.sees("No password?")
    again.go(co.origin + "/#agents")
    again.sees("No password?")
    quiet(again, 401)
    again.close()


def listeners(co):
    return int(re.search(r"^wg_mesh_listeners (\d+)", co.request("GET", "/metrics", root=True)[1].decode(), re.M).group(1))


@case("a login link in a page that is logged in asks first, and then says who one is")
def _(co):
    page = administrator(co, width=360, height=720)
    co.admin("user", "add", "ann", "--role", "viewer", stdin=PASSWORD + "\n")
    link = co.admin("user", "link", "ann").split()[0]
    Agent(co, "early").register(co.key())
    page.sees("early", "table")
    page.js("location.hash = %s" % json.dumps(link.partition("/#")[2]))
    page.sees("You are logged in as admin.")
    equal(page.js("location.href + document.activeElement.innerText"), co.origin + "/Stay admin")
    assert wait_until(lambda: listeners(co) == 0), "the page listens still"
    Agent(co, "later").register(co.key())
    page.click("Stay admin")
    page.sees("later", "table")
    page.wait("document.querySelector('#live.on')")
    equal(listeners(co), 1)
    page.js("location.hash = %s" % json.dumps(link.partition("/#")[2]))
    page.click("Replace the session of admin")
    page.sees("You are logged in as ann", "#toasts")
    page.wait("document.querySelector('#live.on')")
    assert wait_until(lambda: listeners(co) == 1)
    assert not page.js("[...document.querySelectorAll('button')].some((b) => b.innerText === 'Make a join link')")
    again = co.admin("user", "link", "ann").split()[0]
    page.go("about:blank")
    page.go(again)
    page.sees("You are logged in as ann.")
    page.click("Replace the session of ann")
    page.sees("You are logged in as ann", "#toasts")
    page.sees("later", "table")
    assert page.js("document.documentElement.scrollWidth <= innerWidth")
    quiet(page)
    page.close()


@case("a login link that lacks its end is told so, and stays in no address")
def _(co):
    link = first_link(co)
    for broken in (link[:-1], link + "!", link.replace("=", "%3D")):
        page = browser.page(broken)
        page.sees("This login link is not complete. Copy the whole line.", "[role=alert]")
        equal(page.js("location.href"), co.origin + "/")
        quiet(page, 401)
        page.close()
    page = administrator(co)
    page.js("location.hash = %s" % json.dumps(link.partition("/#")[2][:-1]))
    page.sees("This login link is not complete", "#toasts")
    page.wait("document.querySelector('#live.on')")
    equal(page.js("location.href"), co.origin + "/")
    assert wait_until(lambda: listeners(co) == 1)
    quiet(page)
    page.close()


@case("what happens is seen at once, and comes back after the coordinator was away")
def _(co):
    page = administrator(co)
    page.sees("Nobody has joined yet")
    one, two, streams = mesh(co)
    page.sees("nas")
    page.sees("2 / 3", ".stat")
    streams[1].close()
    page.sees("1 / 3", ".stat")
    co.admin("agent", "rename", "nas", "nas-2")
    page.sees("nas-2")
    co.stop()
    page.sees("not connected", "#live")
    streams[0].close()
    co.start()
    page.wait("document.querySelector('#live.on')", 20)
    page.sees("nas-2")
    co.admin("agent", "remove", "nas-2")
    page.wait("!document.body.innerText.includes('nas-2')")
    co.admin("user", "remove", "admin")
    page.sees("Your session has ended")
    page.close()


@case("agents and routes are approved, renamed, tagged and removed; what ends something asks first")
def _(co):
    page = administrator(co)
    one, two, streams = mesh(co)
    page.click("Approve guest")
    page.wait("!document.querySelector('[aria-label=\"Approve guest\"]')")
    view(page, "routes")
    page.click("Approve 192.168.1.0/24 of nas")
    page.wait("document.querySelector('[aria-label=\"Revoke 192.168.1.0/24 of nas\"]')")
    equal({r["prefix"]: r["approved"] for r in json.loads(co.admin("route", "list", "--json"))["routes"]},
          {"192.168.1.0/24": True, "fd99:1234:5678:9abc::/64": False})
    page.click("Revoke 192.168.1.0/24 of nas")
    page.click("Cancel")
    assert any(r["approved"] for r in json.loads(co.admin("route", "list", "--json"))["routes"])
    view(page, "agents")
    page.click("nas")
    page.sees("198.51.100.7:51820", "dialog")
    page.click("Rename")
    page.fill("Name", "No Name")
    page.click("Rename")
    page.sees("a-z, 0-9", "dialog [role=alert]")
    page.fill("Name", "store")
    page.click("Rename")
    page.sees("store", "table")
    page.click("store")
    page.click("Tags")
    page.fill("Tags", "db backup")
    page.click("Save")
    page.sees("backup", "table")
    page.click("store")
    page.click("Expire")
    page.fill("When", "30d")
    page.click("Expire")
    assert wait_until(lambda: json.loads(co.admin("agent", "show", "store", "--json"))["agent"]["expires_at"])
    page.click("store")
    page.click("Remove")
    page.sees("cut off", "dialog")
    assert "store" in co.admin("agent", "list")
    page.click("Remove")
    page.wait("!document.querySelector('table').innerText.includes('store')")
    equal(sorted(a["name"] for a in json.loads(co.admin("agent", "list", "--json"))["agents"]), [two.name, "guest"])
    quiet(page, 422)
    page.close()


@case("a join link is made, shown once and used; keys, networks, users, tokens and relays as well")
def _(co):
    page = administrator(co)
    page.click("Make a join link")
    page.fill("Tags", "web db")
    page.fill("For any number of agents", True)
    page.click("Make the link")
    page.sees("shown this once", "dialog")
    link = page.js("document.querySelector('[aria-label=Link]').value")
    page.click("Done")
    Agent(co, "joined").register(link.partition("#")[2].partition(".")[0])
    page.sees("joined", "table")
    equal(json.loads(co.admin("agent", "show", "joined", "--json"))["agent"]["tags"], ["web", "db"])
    assert link not in page.js("document.body.innerHTML")
    view(page, "keys")
    key = [k["id"] for k in json.loads(co.admin("key", "list", "--json"))["keys"] if k["tags"]][0]
    page.click("Revoke " + key)
    page.click("Revoke")
    page.wait("!document.body.innerText.includes('%s')" % key)
    view(page, "networks")
    page.click("Make a network")
    page.fill("Name", "lab")
    page.fill("IPv4 range", "10.211.0.0/16")
    page.click("Make it")
    page.sees("10.211.0.0/16", "table")
    page.click("Ask for approval lab")
    page.sees("by approval", "table")
    page.click("Remove lab")
    page.click("Remove")
    page.wait("!document.querySelector('table').innerText.includes('lab')")
    view(page, "users")
    page.click("Add a user")
    page.fill("Name", "ann")
    page.fill("Role", "operator")
    page.click("Add")
    page.sees("ann", "table")
    page.click("Login link ann")
    page.click("Make the link")
    page.sees("Whoever opens it is this user", "dialog")
    link = page.js("document.querySelector('[aria-label=Link]').value")
    page.click("Done")
    ann = browser.page(link)
    ann.click("Log in")
    ann.sees("log in again as ann")
    ann.close()
    page.click("Make an API token")
    page.fill("What it is for", "backup")
    page.click("Make it")
    page.wait("document.querySelector('[aria-label=Token]')")
    token = page.js("document.querySelector('[aria-label=Token]').value")
    equal(co.request("GET", "/networks", headers={"Authorization": "Bearer " + token})[0], 200)
    page.click("Done")
    page.click("End token backup")
    page.click("End it")
    page.wait("!document.body.innerText.includes('backup')")
    equal(co.request("GET", "/networks", headers={"Authorization": "Bearer " + token})[0], 401)
    view(page, "relays")
    page.click("Add a relay")
    page.fill("Region", "fra")
    page.fill("STUN servers", "stun.example.net:3478")
    page.click("Add")
    page.sees("stun.example.net:3478", "table")
    page.click("Remove fra")
    page.click("Remove")
    page.sees("No relays were added")
    quiet(page)
    page.close()


def write_policy(page, text):
    page.js("(() => { const e = document.getElementById('policy'); e.value = %s; e.dispatchEvent(new Event('input')) })()" % json.dumps(text))


@case("a policy is written, its mistake shown where it is, compared, applied, kept and explained")
def _(co):
    page = administrator(co)
    one, two, streams = mesh(co)
    view(page, "policy")
    page.click("Write one")
    write_policy(page, "version: 1\ndefault: deny\nacl:\n  - {name: x, from: [any], to: [nas], alow: [tcp/22]}\n")
    page.click("Check")
    page.sees("Line 4, column", "#said")
    page.sees("did you mean", "#said")
    equal(page.js("(() => { const e = document.getElementById('policy'); return e.value.slice(e.selectionStart, e.selectionStart + 4) })()"), "alow")
    write_policy(page, "version: 1\ndefault: deny\nacl:\n  - {name: to the nas, from: [any], to: [nas], allow: [tcp/22]}\n")
    page.click("Check")
    page.sees("It is right", "#said")
    page.click("What would change")
    page.sees("tcp/22", "#said table")
    assert not json.loads(co.admin("policy", "show", "--json"))["text"]
    page.js("document.getElementById('apply').click(); document.getElementById('apply').click()")
    page.wait("document.querySelector('dialog[open]')")
    page.click("Apply")
    page.sees("waits to be confirmed")
    page.click("Keep it")
    page.wait("!document.body.innerText.includes('waits to be confirmed')")
    policy = json.loads(co.admin("policy", "show", "--json"))
    equal(("to the nas" in policy["text"], policy["waiting"]), (True, False))
    page.fill("From", two.name)
    page.fill("To", "nas")
    page.fill("Port", "tcp/22")
    page.click("Explain")
    page.sees("to the nas”, line 4")
    page.fill("Port", "tcp/23")
    page.click("Explain")
    page.sees("denied")
    quiet(page, 422)
    page.close()


@case("hostile values are only ever letters, and nothing on the page can become code")
def _(co):
    page = administrator(co)
    one, two, streams = mesh(co)
    key = co.key("--reusable")
    Agent(co, "evil").register(key, capabilities=[HOSTILE])
    Agent(co, "odd").register(key, capabilities={HOSTILE: {"toString": 1}})
    Agent(co, "odder").register(key, capabilities=[["a"], None, {"toString": 1}])
    co.admin("token", "create", "--role", "viewer", "--name", HOSTILE)
    with open(co.dir + "/hostile.yaml", "w") as f:
        f.write("version: 1\ndefault: allow\nacl: [{name: '%s', from: [any], to: [nas], allow: [icmp]}]\n" % HOSTILE)
    co.admin("policy", "apply", co.dir + "/hostile.yaml")
    for name, able in (("evil", HOSTILE), ("odd", HOSTILE), ("odder", '["a"], null, {"toString":1}')):
        page.click(name)
        page.sees(able, "dialog")
        page.wait("[...document.querySelectorAll('dialog button')].some((b) => b.innerText === 'Remove')")
        page.click("Close")
    view(page, "users")
    page.sees(HOSTILE, "table")
    page.click("End token " + HOSTILE)
    page.click("Cancel")
    view(page, "policy")
    page.wait("document.getElementById('policy').value.includes('onerror')")
    page.fill("From", "evil")
    page.fill("To", "nas")
    page.fill("Port", "icmp")
    page.click("Explain")
    page.sees(HOSTILE)
    equal(page.js("[...document.images].every((i) => i.getAttribute('src') === '/web/icon.svg')"), True)
    quiet(page)
    equal(page.js("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'taken' } catch (e) { return e.name } })()"), "TypeError")
    equal(page.js("(() => { const s = document.createElement('style'); s.textContent = 'body{display:none}'; document.head.append(s);"
                  " return getComputedStyle(document.body).display })()"), "block")
    assert any("Content Security Policy" in e or "Trusted" in e for e in page.errors), page.errors
    page.close()


@case("a coordinator of another version may answer otherwise: what cannot be drawn takes nothing with it")
def _(co):
    page = administrator(co)
    one, two, streams = mesh(co)
    page.sees("guest")
    page.js("""(() => { const before = fetch; window.fetch = async (...what) => {
        const answer = await before(...what), json = await answer.json();
        for (const agent of [json.agent, ...json.agents ?? []])
            if (agent?.name === 'nas')
                Object.assign(agent, {addresses: 'x', tags: 7, routes: null, last_seen: 'x', joined_at: 'x', online: false});
        if (json.relays)
            json.relays = null;
        return {ok: answer.ok, status: answer.status, json: () => json} } })()""")
    view(page, "routes")
    page.sees("192.168.1.0/24", "table")
    view(page, "agents")
    page.wait("[...document.querySelectorAll('td')].some((e) => e.innerText === '?')")
    page.sees(two.name, "table")
    page.click("nas")
    page.sees("Public key", "dialog")
    page.wait("[...document.querySelectorAll('dialog button')].some((b) => b.innerText === 'Remove')")
    page.click("Close")
    view(page, "relays")
    page.sees("This cannot be shown", "main")
    view(page, "networks")
    page.sees("by approval", "table")
    quiet(page)
    page.close()


@case("who has a role in one network sees that one, and is offered what the role may")
def _(co):
    one, two, streams = mesh(co)
    co.admin("user", "add", "red", "--role", "viewer", "--network", "lab", stdin=PASSWORD + "\n")
    page = browser.page()
    log_in(page, co, "red")
    page.sees("guest")
    seen = ""
    for name in VIEWS:
        view(page, name)
        seen += page.text("main")
    assert "nas" not in seen and "default" not in seen, seen
    view(page, "agents")
    equal(page.js("[...document.querySelectorAll('main button')].map((b) => b.innerText)"), ["guest"])
    page.click("guest")
    page.sees("Public key", "dialog")
    equal(page.js("[...document.querySelectorAll('dialog button')].map((b) => b.innerText)"), ["×"])
    page.click("Close")
    view(page, "networks")
    equal(page.js("document.querySelectorAll('main button').length"), 0)
    co.admin("user", "role", "red", "operator", "--network", "lab")  # which ends the session
    log_in(page, co, "red")
    page.click("Approve guest")
    page.wait("!document.querySelector('[aria-label=\"Approve guest\"]')")
    quiet(page, 401)
    page.close()


@case("on a phone, dark or light, nothing goes over the edge; every control has a name")
def _(co):
    page = administrator(co, width=360, height=720)
    one, two, streams = mesh(co)
    co.admin("token", "create", "--role", "viewer", "--name", "w" * 63)
    co.admin("relay", "add", "https://a-name-of-a-host-that-is-rather-long.example.net:8444", "--region", "fra")
    page.sees(two.name)
    for dark, width in ((False, 360), (True, 320), (True, 1280)):
        page.size(width, 720, dark)
        for name in VIEWS:
            view(page, name)
            page.wait("document.querySelector('main h1')")
            assert page.js("document.documentElement.scrollWidth <= innerWidth"), "%s at %d: %d" % (
                name, width, page.js("document.documentElement.scrollWidth"))
            equal(page.js("[...document.querySelectorAll('td button:not(.link)')].filter((b) => b.offsetHeight > 40 && !b.innerText.includes(' ')).map((b) => b.innerText)"), [],
                  "broken inside of a word in " + name)
            tree = page.call("Accessibility.getFullAXTree")["nodes"]
            controls = [n for n in tree if not n["ignored"] and n["role"]["value"] in ("button", "link", "textbox", "searchbox", "combobox", "checkbox")]
            assert len(controls) > 2, name
            equal([n["role"]["value"] for n in controls if not n.get("name", {}).get("value")], [], "without a name in " + name)
    equal(page.js("getComputedStyle(document.body).backgroundColor") != "rgb(245, 247, 245)", True, "it is not dark")
    page.size(360, 720)
    view(page, "agents")
    page.wait("document.querySelector('#live.on')")
    assert page.js("document.querySelector('.top').offsetHeight < 70"), "the head has two lines"
    page.click(two.name)
    page.wait("document.querySelector('dialog[open]')")
    assert page.js("(() => { const [title, close] = document.querySelector('dialog .head').children;"
                   " return close.offsetLeft >= title.offsetLeft + title.offsetWidth })()"), "what closes is below the title"
    page.click("Close")
    page.click("Menu")
    page.click("Audit")
    page.sees("Who did what", "main")
    assert not page.js("document.querySelector('#nav').offsetParent"), "the menu stays open"
    page.click("Log out")
    page.sees("No password?")
    assert page.js("document.documentElement.scrollWidth <= innerWidth")
    quiet(page, 401)
    page.close()


@case("of 5,000 agents some are drawn, all are found, and what happens is drawn the more seldom the longer it takes")
def _(co):
    network = json.loads(co.admin("network", "list", "--json"))["networks"][0]
    prefix = network["cidr"].rsplit(".", 2)[0]
    co.stop()
    co.insert("agents", "id, public_key, created_at, expired, ephemeral", [("%024x" % i, os.urandom(32), 1000, 0, 0) for i in range(5000)])
    co.insert("agent_networks", "agent_id, network_id, name, address4, tags, joined_at",
              [("%024x" % i, network["id"], "many-%d" % i, "%s.%d.%d" % (prefix, i // 250 + 1, i % 250 + 1), "[]", 1000) for i in range(5000)])
    co.start()
    page = administrator(co)
    rows = "document.querySelectorAll('tbody tr').length"
    page.sees("0 / 5000", ".stat")
    equal(page.js(rows), 200)
    page.click("Show more of 5000")
    equal(page.js(rows), 700)
    page.js("(() => { const e = document.getElementById('search'); e.value = 'm'; e.dispatchEvent(new Event('input')) })()")
    equal(page.js(rows), 200, "rows while somebody writes")
    page.js("(() => { const e = document.getElementById('search'); e.value = 'many 20.250'; e.dispatchEvent(new Event('input')) })()")
    equal(page.text("tbody button"), "many-4999")
    page.js("(() => { let clock = 0; const before = setTimeout; window.waited = 0; performance.now = () => clock += 1000;"
            " window.setTimeout = (what, ms) => { waited = Math.max(waited, ms); return before(what, 0) } })()")
    for name in ("once", "twice"):
        co.admin("agent", "rename", page.text("tbody button"), "many-" + name)
        page.sees("many-" + name, "tbody")
        page.js("(() => { const e = document.getElementById('search'); e.value = 'many'; e.dispatchEvent(new Event('input'));"
                " e.value = '20.250'; e.dispatchEvent(new Event('input')) })()")
    assert page.js("waited") >= 9000, page.js("waited")
    quiet(page)
    page.close()


@case("the keyboard is enough")
def _(co):
    co.admin("user", "passwd", "admin", stdin=PASSWORD + "\n")
    one, two, streams = mesh(co)
    page = browser.page(co.origin + "/")
    name = "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText).replace(/\\s+/g, ' ').trim()"

    def tab_to(wanted):
        for _ in range(60):
            if page.js(name) == wanted:
                return
            page.key("Tab")
        raise AssertionError("Tab never comes to " + wanted)

    page.wait("document.activeElement.tagName === 'INPUT'")
    page.type("admin")
    page.key("Tab")
    page.type(PASSWORD)
    page.key("Enter")
    page.wait("document.querySelector('#live.on')")
    page.sees("guest")
    tab_to("nas")
    page.key("Enter")
    page.sees("Public key", "dialog")
    page.key("Escape")
    page.wait("!document.querySelector('dialog')")
    equal(page.js(name), "nas", "where the focus goes back to")
    co.admin("agent", "tag", two.name, "fresh")
    page.sees("fresh", "table")
    equal(page.js(name), "nas", "the focus after the list was drawn again")
    page.js("(() => { const e = document.getElementById('show'); e.focus(); window.lost = 0; e.addEventListener('blur', () => lost++) })()")
    co.admin("agent", "tag", two.name, "fresher")
    page.sees("fresher", "table")
    equal(page.js("lost"), 0, "a list of choices would have closed")
    page.js("scrollTo(0, 0); document.querySelector('.skip').focus()")
    tab_to("Routes 2")
    page.key("Enter")
    page.sees("192.168.1.0/24", "table")
    equal(page.js("document.activeElement.tagName"), "H1")
    tab_to("Approve 192.168.1.0/24 of nas")
    page.key("Space")
    page.wait("document.querySelector('[aria-label=\"Revoke 192.168.1.0/24 of nas\"]')")
    tab_to("Revoke 192.168.1.0/24 of nas")
    page.key("Enter")
    page.wait("document.querySelector('dialog[open]')")
    equal(page.js(name), "Cancel", "what Enter would do at once")
    page.key("Enter")
    page.wait("!document.querySelector('dialog')")
    assert "192.168.1.0/24" in co.admin("route", "list")
    quiet(page, 401)
    page.close()


@case("a join link in a browser tells what to do with it, and sends its key nowhere")
def _(co):
    link = co.admin("key", "create").strip()
    page = browser.page(link)
    equal(page.js("document.querySelector('textarea').value"), "sudo wg-mesh join '%s'" % link)
    page.click("Copy: command")
    page.sees("Command copied", "#toasts")
    secret = link.partition("#")[2]
    equal([r for r in page.requests if secret[:22] in r["url"] or secret[:22] in r.get("postData", "")], [])
    quiet(page)
    page.close()
    for broken in (co.origin + "/join", link[:-1], co.origin + "/join#<img>"):
        page = browser.page(broken)
        page.sees("This link is not whole", "[role=alert]")
        equal(page.js("document.querySelectorAll('textarea').length"), 0)
        page.close()


@case("the page is small, and loads within the usual limits of requests")
def _(_co):
    co = Coordinator(NO_RELAY).start()
    try:
        page = administrator(co)
        for _ in range(5):
            page.requests.clear()
            page.call("Page.reload")
            page.wait("document.querySelector('#live.on')")
        paths = {r["url"][len(co.origin):] for r in page.requests}
        own = {p for p in paths if p == "/" or p.startswith("/web/")}
        equal({r["url"][:len(co.origin)] for r in page.requests}, {co.origin}, "what is asked of others")
        assert len(own) > 9 and len(paths) < 25, paths
        size = sum(len(co.request("GET", p, root=True)[1]) for p in own)
        assert size < LIMIT, "%d bytes" % size
        quiet(page, 401)
        page.close()
    finally:
        co.close()


if __name__ == "__main__":
    browser = Browser()
    try:
        code = coordinator.main()
    finally:
        browser.close()
    sys.exit(code)
