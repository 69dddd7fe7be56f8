/* access.js - users, tokens, the audit, and one's own password. */
import { api, id } from "./api.js";
import { LIFETIMES } from "./networks.js";
import { actions, ago, ask, at, button, chip, chips, copyBox, empty, end, form, h, head, mono, muted, once, table, toast } from "./ui.js";
import { may, networksWith, state } from "./state.js";

const ROLES = ["viewer", "operator", "admin"];
const MIN = 10; /* characters of a password: coordinator/access/password.h */
const roleText = (roles) => roles.map((row) => row.role + (row.network ? " of " + row.network : "")).join(", ") || "no role";
const user = (name, rest = "") => `/users/${id(name)}${rest}`;
const newPassword = (more) => ({ name: "password", type: "password", label: "Password", autocomplete: "new-password", min: MIN,
	hint: `At least ${MIN} characters`, ...more });

/* Where roles can be given: in all networks, or in one of those that one is admin of. */
const where = () => ({ name: "network", type: "select", label: "Where",
	options: [...(may("admin") ? [["", "everywhere"]] : []), ...networksWith("admin")], value: may("admin") ? "" : networksWith("admin")[0] });
const placed = ({ network, ...values }) => network ? { network, ...values } : values;

function add() {
	ask({ title: "Add a user", submit: "Add",
		fields: [{ name: "name", label: "Name", required: true }, { name: "role", type: "select", label: "Role", options: ROLES, value: "viewer" }, where(),
			newPassword({ hint: `At least ${MIN} characters; or none, and give a login link` })],
		action: async ({ password, ...values }) => {
			await api("POST", "/users", { ...placed(values), ...(password && { password }) });
			return `${values.name} is added`;
		} });
}

function role(name) {
	ask({ title: `Role of ${name}`, submit: "Save",
		fields: [{ name: "role", type: "select", label: "Role", options: [...ROLES, ["none", "none: take it away"]], value: "viewer" }, where()],
		action: async (values) => {
			await api("PATCH", user(name), placed(values));
		} });
}

function password(name) {
	ask({ title: `Password of ${name}`, submit: "Save", text: "Other sessions of this user end.", fields: [newPassword({ required: true })],
		action: async (values) => {
			await api("PATCH", user(name), values);
			if (name === state.me.user)
				state.password = true;
			return "The password is set";
		} });
}

function link(name) {
	ask({ title: `Login link for ${name}`, submit: "Make the link", text: "It logs in once, within an hour, and ends links made before.",
		action: async () => {
			const made = await api("POST", user(name, "/link"));

			once(`Login link for ${name}`, "It is shown this once. Whoever opens it is this user.", copyBox("Link", made.link));
		} });
}

const removeUser = (name) => end(`Remove ${name}?`, "With all tokens and sessions of this user.", user(name));

function makeToken() {
	ask({ title: "Make an API token", submit: "Make it", text: "For programs: Authorization: Bearer TOKEN. It may no more than you may.",
		fields: [{ name: "name", label: "What it is for", required: true }, { name: "role", type: "select", label: "Role", options: ROLES, value: "viewer" },
			{ name: "expires", type: "select", label: "Good for", options: LIFETIMES, value: "90d" }],
		action: async (values) => {
			const made = await api("POST", "/tokens", values);

			once("API token", "It is shown this once.", copyBox("Token", made.secret));
		} });
}

const revoke = (token) => end(`End this ${token.kind}?`, "Whoever uses it is refused from now on.", "/tokens/" + id(token.id), "End it");

export const users = {
	title: "Access",
	touches: /^user-|^token-|^log|^network-/,
	load: async () => {
		[state.users, state.tokens] = await Promise.all([api("GET", "/users").then((answer) => answer.users),
			api("GET", "/tokens").then((answer) => answer.tokens.reverse())]);
	},
	draw: () => [head("Access", networksWith("admin")[0] && button("Add a user", add, { class: "primary", id: "add-user" })),
		table("Users", [
			["User", (one) => [one.name, one.name === state.me.user && " (you)"]], ["Roles", (one) => roleText(one.roles)],
			["Password", (one) => one.password ? "yes" : chip("none")], ["Last login", (one) => ago(one.last_login)],
			["", (one) => networksWith("admin")[0] ? actions(one.name, ["Role", () => role(one.name)], ["Password", () => password(one.name)],
				["Login link", () => link(one.name)], one.name !== state.me.user && ["Remove", () => removeUser(one.name), "danger"])
				: actions(one.name, ["Password", () => password(one.name)])],
		], state.users, (one) => one.name),
		h("div", { class: "head" }, h("h2", {}, "Tokens and sessions"), button("Make an API token", makeToken, { id: "make-token" })),
		table("Tokens and sessions", [
			["Kind", (one) => chip(one.kind, one.kind === "link" ? "warn" : "")], ["Name", (one) => one.name ?? h("code", {}, one.id)], ["User", (one) => one.user ?? "–"],
			["Held to", (one) => [one.roles ? roleText(one.roles) : "–", " ", chips(one.scopes ?? [])]],
			["Used", (one) => ago(one.used_at)], ["Ends", (one) => one.expires_at ? ago(one.expires_at) : "never"],
			["", (one) => actions(`${one.kind} ${one.name ?? one.id}`, ["End", () => revoke(one), "danger"])],
		], state.tokens)],
};

export const audit = {
	title: "Audit",
	load: async () => {
		state.audit = (await api("GET", "/audit?limit=300")).audit.reverse();
	},
	draw: () => [head("Audit"), muted("Who did what, the newest first."),
		state.audit.length ? table("Audit", [
			["When", (line) => at(line.at)], ["Who", (line) => line.actor], ["What", (line) => chip(line.action, /refused|removed|revoked/.test(line.action) ? "warn" : "")],
			["Of", (line) => mono(line.subject ?? "–")], ["More", (line) => line.detail ?? ""], ["Network", (line) => line.network ?? ""],
		], state.audit.slice(0, 300)) : empty("Nothing has happened yet")],
};

export function firstPassword() {
	return h("section", { class: "card notice" }, h("h2", {}, "Set a password"),
		h("p", {}, "Your link is used up. With a password you can log in again as ", h("b", {}, state.me.user), "."),
		form([newPassword({ required: true })], "Set the password", async (values) => {
			await api("PATCH", user(state.me.user), values);
			state.password = true;
			toast("The password is set");
			state.refresh();
		}));
}
