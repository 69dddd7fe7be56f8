/* policy.js - the policy: its text, what is wrong with it, what it would change, who may reach whom. */
import { api } from "./api.js";
import { ago, ask, attempt, button, buttons, chip, empty, form, h, head, muted, table, toast } from "./ui.js";
import { may, state } from "./state.js";

const FIRST = "version: 1\ndefault: deny\nacl:\n  - {name: admins everywhere, from: [tag:admin], to: [any], allow: [any]}\n";
let now = null, text = null; /* GET /policy, and what is being written; null: as it is in force */

const changed = () => text !== null && text !== now.text;
const asked = () => ({ text: text ?? now.text, file: "policy" });

function editor(said) {
	const numbers = h("pre", { class: "numbers", "aria-hidden": "true" });
	const area = h("textarea", { id: "policy", class: "mono", "aria-label": "Policy", spellcheck: "false", wrap: "off",
		readonly: !may("admin"), rows: 18, value: text ?? now.text });
	const count = () => {
		numbers.textContent = Array.from({ length: area.value.split("\n").length }, (_, i) => i + 1).join("\n");
	};

	area.addEventListener("input", () => {
		text = area.value;
		count();
		said.replaceChildren();
	});
	area.addEventListener("scroll", () => {
		numbers.scrollTop = area.scrollTop;
	});
	count();
	return h("div", { class: "editor" }, numbers, area);
}

/* FILE:LINE:COLUMN: sentence; the place is selected. */
function wrong(said, error) {
	const [, line, column, what] = /^[^:]*:(\d+):(\d+): (.*)$/s.exec(error.message) ?? [];
	const area = document.getElementById("policy");

	said.replaceChildren(h("p", { class: "problem", role: "alert" }, line ? [h("b", {}, `Line ${line}, column ${column}: `), what] : error.message));
	if (!line || !area)
		return;
	const begin = area.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0) + Number(column) - 1;
	area.focus();
	area.setSelectionRange(begin, begin + 1);
	area.scrollTop = Math.max(0, (line - 4) * 20);
}

const asking = (said, path, show) => async () => {
	try {
		said.replaceChildren(...show(await api("POST", path, asked())));
	} catch (error) {
		wrong(said, error);
	}
};

const warnings = (list) => list.map((line) => muted("Warning: ", line));

function checked(result) {
	return [h("p", { class: "good", role: "status" }, `It is right: ${result.rules} rules, ${result.tests.length} tests, ${result.failed} failed.`), ...warnings(result.warnings),
		result.tests.length > 0 && table("Tests", [
			["Line", (test) => String(test.line)], ["From", (test) => test.from], ["To", (test) => test.to], ["Port", (test) => test.port],
			["Expected", (test) => test.expect], ["Result", (test) => [chip(test.result, { ok: "good", failed: "bad" }[test.result]), test.detail]],
		], result.tests)].filter(Boolean);
}

const words = (value) => Array.isArray(value) ? value.map(words).join(", ") || "nothing" : String(value ?? "nothing");

function differences(result) {
	if (!result.changes.length && result.complete)
		return [h("p", { class: "good", role: "status" }, "It changes nothing between agents.")];
	return [table("What would change", [
		["Network", (row) => row.network], ["From", (row) => row.from ?? row.agent ?? "–"], ["To", (row) => row.to ?? row.route ?? "–"],
		["Now", (row) => words(row.before)], ["Then", (row) => words(row.after)],
	], result.changes), result.complete ? "" : h("p", {}, "This is not all.")];
}

async function apply(said) {
	try {
		await api("POST", "/policy/check", asked());
	} catch (error) {
		wrong(said, error);
		return;
	}
	if (document.querySelector("dialog")) /* pressed twice */
		return;
	ask({ title: "Put this policy in force?", submit: "Apply", text: "Agents have its rules within a second.",
		fields: [{ name: "confirm", type: "select", label: "Take it back by itself", value: "60",
			options: [["60", "after a minute, unless I confirm"], ["300", "after five minutes, unless I confirm"], ["", "no"]] }],
		action: async ({ confirm }) => {
			await api("PUT", "/policy", { ...asked(), ...(confirm && { confirm: Number(confirm) }) });
			text = null;
			return "The policy is in force";
		} });
}

function waits() {
	return h("section", { class: "card notice" }, h("h2", {}, "This policy waits to be confirmed"),
		h("p", {}, "It is in force, and is taken back by itself unless you keep it."),
		may("admin") && buttons(button("Keep it", () => attempt(() => api("POST", "/policy/confirm", { version: now.version }), "It stays"), { class: "primary", id: "keep" }),
			button("Take it back", () => attempt(() => api("POST", "/policy/rollback", { version: now.version }), "It is taken back"), { class: "danger" })));
}

function whole() {
	const said = h("div", { id: "said" });

	if (!now)
		return [];
	if (!now.text && text === null)
		return [empty("There is no policy", h("p", {}, "All agents of a network may talk to each other."),
			may("admin") && buttons(button("Write one", () => {
				text = FIRST;
				state.refresh();
			}, { class: "primary", id: "write" })))];
	return [now.waiting && waits(),
		muted(now.text ? [`Version ${now.version}, applied by ${now.applied_by} `, now.applied_at && ago(now.applied_at), changed() && ". Changed here, not applied."]
			: "Not in force yet."),
		editor(said),
		buttons(may("admin") && button("Apply", () => apply(said), { class: "primary", id: "apply" }),
			button("Check", asking(said, "/policy/check", checked), { id: "check" }), button("What would change", asking(said, "/policy/diff", differences), { id: "diff" }),
			may("admin") && button("Discard changes", () => {
				text = null;
				state.refresh();
			})), said];
}

function explain() {
	const said = h("div", { role: "status" });
	const parties = [...new Set([...state.agents.values()].map((agent) => agent.name))].slice(0, 500);

	return h("section", { class: "card" }, h("h2", {}, "Who may reach whom?"),
		h("datalist", { id: "parties" }, parties.map((name) => h("option", { value: name }))),
		form([{ name: "from", label: "From", required: true, list: "parties" }, { name: "to", label: "To", required: true, list: "parties" },
			{ name: "port", label: "Port", required: true, value: "tcp/443", hint: "tcp/443, udp/53 or icmp" }], "Explain",
		async (values) => {
			said.replaceChildren();
			const seen = await api("POST", "/policy/explain", values);

			said.replaceChildren(...(seen.verdict === "differs" ? seen.families : [seen]).map((one) => h("p", {},
				one.verdict === "allow" ? chip("allowed", "good") : chip("denied", "bad"),
				one === seen ? " " : ` ${one.from} to ${one.to} `,
				one.rule && `by the rule “${one.rule}”${one.line ? `, line ${one.line}` : ""}`)));
		}), said);
}

export const policy = {
	title: "Policy",
	still: true, /* what is being written is not drawn over */
	touches: /^policy-/,
	changed: () => toast("The policy was changed. Leave this page and come back to see it."),
	load: async () => {
		now = may("viewer") ? await api("GET", "/policy") : null;
	},
	draw: () => [head("Policy"), ...whole().filter(Boolean), explain()],
};
