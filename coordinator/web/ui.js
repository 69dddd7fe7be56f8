/* ui.js - elements, tables, dialogs. Values become text nodes and attributes, never markup: what an agent
 * calls itself is only ever letters. */
import { api } from "./api.js";
import { state } from "./state.js";

export function h(tag, attributes = {}, ...children) {
	const element = document.createElement(tag);
	let value;

	for (const [name, given] of Object.entries(attributes)) {
		if ((given ?? false) === false)
			continue;
		if (typeof given === "function")
			element.addEventListener(name.slice(2), given);
		else if (name === "value")
			value = given;
		else
			element.setAttribute(name, given === true ? "" : given);
	}
	element.append(...children.flat(Infinity).filter((child) => (child ?? false) !== false));
	if (value !== undefined)
		element.value = value;
	return element;
}

export function button(text, action, more = {}) {
	return h("button", { type: "button", onclick: action, ...more }, text);
}

export const chip = (text, kind = "") => h("span", { class: "chip " + kind }, text);
export const chips = (words) => words.map((word) => chip(word, "tag"));
export const mono = (text) => h("span", { class: "mono" }, text);
export const lines = (texts) => texts.map((text) => h("div", { class: "mono" }, text));

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function ago(time) {
	if (!time)
		return "never";
	const seconds = Math.round((new Date(time) - Date.now()) / 1000);
	const [unit, size] = UNITS.find((one) => Math.abs(seconds) > one[1] * 0.97) ?? ["second", 1];
	const text = unit === "second" && seconds <= 0 ? "just now" : relative.format(Math.round(seconds / size), unit);

	return h("time", { datetime: time, title: new Date(time).toLocaleString() }, text);
}

export function at(time) {
	return h("time", { datetime: time }, new Date(time).toLocaleString("sv"));
}

export function toast(text, bad) {
	const box = h("p", { class: bad ? "bad" : "" }, text);
	const list = document.getElementById("toasts");

	list.append(box);
	list.hidePopover?.();
	list.showPopover?.(); /* above dialogs */
	setTimeout(() => box.remove(), bad ? 9000 : 4000);
}

export const buttons = (...list) => h("div", { class: "buttons" }, list);
export const muted = (...said) => h("p", { class: "muted" }, said);
export const head = (title, ...actions) => h("header", { class: "head" }, h("h1", { tabindex: "-1" }, title), ...actions);

export const empty = (title, ...rest) => h("section", { class: "card empty" }, h("h2", {}, title), ...rest);

/* What cannot be drawn (an agent lies, a coordinator is of another version) does not take the rest with it. */
export function tried(make, otherwise = "?") {
	try {
		return make();
	} catch {
		return otherwise;
	}
}

export function copyBox(label, text) {
	const box = h("textarea", { class: "mono", readonly: true, rows: Math.ceil(text.length / 40), "aria-label": label,
		spellcheck: "false", onfocus: () => box.select() }, text);

	return h("div", { class: "copy" }, box, button("Copy", async () => {
		try {
			await navigator.clipboard.writeText(text);
			toast(label + " copied");
		} catch {
			box.focus();
			toast("Press Ctrl+C to copy what is selected.", true);
		}
	}, { "aria-label": "Copy: " + label.toLowerCase() }));
}

/* columns: [title, row => what is in the cell]; on a narrow screen each row becomes a card. */
export function table(caption, columns, rows) {
	return h("table", { role: "table", "aria-label": caption },
		h("thead", {}, h("tr", { role: "row" },
			columns.map(([title]) => h("th", { role: "columnheader" },
				title || h("span", { class: "unseen" }, "Actions"))))),
		h("tbody", {}, rows.map((row) => h("tr", { role: "row" },
			columns.map(([title, cell]) => h("td", { role: "cell", "data-label": title }, tried(() => cell(row))))))));
}

/* Buttons of a row; each has a name of its own for those who do not see the row. */
export function actions(of, ...list) {
	return h("div", { class: "actions" }, list.filter(Boolean).map(([text, action, kind]) =>
		button(text, action, { class: "small " + (kind ?? ""), "aria-label": `${text} ${of}`, id: `${text} ${of}` })));
}

let dialogs = 0, forms = 0;

export function dialog(title, ...children) {
	const name = "dialog-" + ++dialogs, before = document.activeElement?.id;
	const box = h("dialog", { "aria-labelledby": name }, h("div", { class: "head" }, h("h2", { id: name }, title),
		button("×", () => box.close(), { class: "plain", "aria-label": "Close" })), ...children);

	box.addEventListener("close", () => {
		box.remove();
		if (before && document.activeElement === document.body)
			document.getElementById(before)?.focus(); /* drawn anew meanwhile */
	});
	document.body.append(box);
	box.showModal();
	return box;
}

/* One of: {name, label, hint, type: text|password|check|select|..., options, value, required, ...}. */
function field(spec, number) {
	const name = `field-${forms}-${number}`, hint = spec.hint && name + "-hint";
	const common = { id: name, "aria-describedby": hint, required: spec.required };
	let input;

	if (spec.type === "select")
		input = h("select", { ...common, value: spec.value }, spec.options.map((one) =>
			Array.isArray(one) ? h("option", { value: one[0] }, one[1]) : h("option", {}, one)));
	else if (spec.type === "check")
		input = h("input", { ...common, type: "checkbox", checked: spec.value });
	else
		input = h("input", { ...common, type: spec.type ?? "text", value: spec.value ?? "", autocomplete: spec.autocomplete ?? "off",
			spellcheck: "false", autocapitalize: "none", minlength: spec.min, list: spec.list });
	const label = h("label", { for: name }, spec.label);
	return {
		row: h("div", { class: "field " + (spec.type ?? "") }, spec.type === "check" ? [input, label] : [label, input],
			hint && h("p", { class: "hint", id: hint }, spec.hint)),
		input,
		get: () => spec.type === "check" ? input.checked : spec.type === "words" ? words(input.value) : input.value,
	};
}

export const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/* A form whose problem is told where it is; `action` gets {name: value} and throws what went wrong. */
export function form(fields, submit, action, { danger, cancel } = {}) {
	forms++;
	const inputs = fields.filter(Boolean).map((spec, i) => [spec.name, field(spec, i)]);
	const problem = h("p", { class: "problem", role: "alert", hidden: true });
	const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, submit);
	const box = h("form", {
		onsubmit: async (event) => {
			event.preventDefault();
			go.disabled = true;
			problem.hidden = true;
			try {
				await action(Object.fromEntries(inputs.map(([name, one]) => [name, one.get()])));
			} catch (error) {
				problem.textContent = error.message;
				problem.hidden = false;
				go.disabled = false;
				(inputs[0]?.[1].input ?? go).focus();
				return;
			}
			go.disabled = false;
		},
	}, inputs.map(([, one]) => one.row), problem, buttons(go, cancel && button("Cancel", cancel)));

	return box;
}

/* Asks first; closes when it is done. */
export function ask({ title, text, fields = [], submit, danger, action }) {
	const box = dialog(title, text && h("p", {}, text));

	box.append(form(fields, submit, async (values) => {
		const said = await action(values);

		box.close();
		if (said)
			toast(said);
		await state.refresh(true);
	}, { danger, cancel: () => box.close() }));
	(box.querySelector("form input, form select") ?? box.querySelector(".buttons button:last-child")).focus();
	return box;
}

/* Asks before something ends. */
export const end = (title, text, path, submit = "Remove") => ask({ title, text, submit, danger: true, action: () => api("DELETE", path) });

/* What is told only once. */
export function once(title, text, ...boxes) {
	const box = dialog(title, h("p", {}, text), boxes, buttons(button("Done", () => box.close())));

	box.querySelector(".copy button").focus();
}

/* Does something at once, and tells what went wrong. */
export async function attempt(action, said) {
	try {
		await action();
		if (!said)
			return;
		toast(said);
		await state.refresh(true);
	} catch (error) {
		toast(error.message, true);
	}
}
