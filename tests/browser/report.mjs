// Opens a report in Chromium as its readers do: three widths, light and dark, by pointer and by keyboard.
//
//   node report.mjs MODULES REPORT SHOTS PLANTED [BOUND_MS]
//
// MODULES: where playwright-core and axe-core are installed. REPORT: the page. SHOTS: a folder for screenshots. PLANTED: what the report was made
// of, as JSON: {rows, hostile, searched, failed, flips, label, scan, shown: {page, rows, heatmaps}, compared: {page, hostile}}, where `shown` is a
// report with images beside it and `compared` a comparison. BOUND_MS: interactions that take longer fail; without it they are only
// printed. Ends with 0 when everything held.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, report, shots, plantedText, bound] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), "package.json"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
const planted = JSON.parse(plantedText);
const address = pathToFileURL(resolve(report)).href;
const parts = ["overview", "radiographs", "scans", "methods"];

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });

/** A page whose complaints and requests are taken down. */
async function open(width, scheme, hash, at = address) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, acceptDownloads: true });
  await context.addInitScript({ path: axe });
  const page = await context.newPage();
  const said = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) said.push(message.text()); });
  page.on("pageerror", (error) => said.push(error.message));
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) said.push(`asks for ${request.url()}`);
  });
  page.on("dialog", (dialog) => { said.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(at + hash);
  return { context, page, said };
}

async function judge(page, what) {
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter((violation) => ["serious", "critical"].includes(violation.impact));
  const told = serious.map((violation) => `${violation.id}: ${violation.help}\n${violation.nodes.map((node) => node.html).slice(0, 3).join("\n")}`);
  assert.deepEqual(told, [], what);
  const [wide, has] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(wide <= has, `${what} is ${wide} px wide in ${has}`);
}

async function everyPart() {
  for (const width of [375, 1280, 1920]) {
    for (const scheme of ["light", "dark"]) {
      const { context, page, said } = await open(width, scheme, "");
      for (const part of parts) {
        await page.goto(`${address}#${part}`);
        const what = `${part}-${width}-${scheme}`;
        assert.equal(await page.locator(".page:visible").count(), 1, what);
        await judge(page, what);
        await page.screenshot({ path: join(shots, `${what}.png`) });
      }
      await page.goto(`${address}#radiographs`);
      await page.locator("#rows .open").first().click();
      await judge(page, `dialog-${width}-${scheme}`);
      await page.screenshot({ path: join(shots, `dialog-${width}-${scheme}.png`) });
      await page.keyboard.press("Escape");
      await page.goto(`${address}#scans`);
      const link = page.locator("#scan-table tbody a").filter({ hasText: planted.scan }).first();
      await page.goto(new URL(await link.getAttribute("href"), address).href);
      await judge(page, `scan-${width}-${scheme}`);
      assert.ok(await page.locator(".component:visible .views").count() > 0, "brains are drawn");
      await page.screenshot({ path: join(shots, `scan-${width}-${scheme}.png`), fullPage: true });
      assert.deepEqual(said, [], `${width} ${scheme}`);
      await context.close();
    }
  }
}

const rows = (page) => page.locator("#rows tr");
const names = (page) => page.locator("#rows .open").evaluateAll((all) => all.map((one) => one.title));
const count = (page) => page.locator("#count").textContent();

async function byPointer() {
  const { context, page, said } = await open(1280, "light", "#radiographs");
  assert.equal(await count(page), `${planted.rows} radiographs`);
  assert.equal(await rows(page).count(), 50);

  // A name that is markup is text.
  await page.fill("#f-text", "<script>");
  assert.deepEqual(await names(page), [planted.hostile]);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator("#rows script, #rows img[src='x']").count(), 0);
  await page.locator("#rows .open").click();
  assert.equal(await page.locator("#study-title").textContent(), planted.hostile);
  await page.locator("#s-close").click();

  await page.fill("#f-text", planted.searched.toUpperCase());
  assert.deepEqual(await names(page), [planted.searched]);
  await page.click("#f-reset");
  await page.waitForFunction((all) => document.getElementById("count").textContent === all, `${planted.rows} radiographs`);

  await page.selectOption("#f-outcome", "failed");
  assert.equal(await count(page), `${planted.failed} of ${planted.rows} radiographs`);
  await page.selectOption("#f-outcome", "");
  await page.check("#f-flips");
  assert.equal(await count(page), `${planted.flips} of ${planted.rows} radiographs`);
  await page.uncheck("#f-flips");

  // Sorted by the probability of a label: the largest first, then the smallest.
  await page.selectOption("#f-label", { label: planted.label });
  await page.click('#head [data-column="finding"]');
  const values = () => page.locator("#rows td:has(.gauge)").evaluateAll((all) => all.map((one) => parseFloat(one.textContent)));
  const falling = await values();
  assert.deepEqual(falling, [...falling].sort((a, b) => b - a));
  assert.equal(await page.locator('th[aria-sort="descending"]').count(), 1);
  await page.fill("#f-low", "0.25");
  await page.fill("#f-high", "0.5");
  const within = await values();
  assert.ok(within.length > 0 && within.every((value) => value >= 0.2495 && value <= 0.5005), String(within));
  await page.click("#f-reset");

  await page.click("#p-next");
  assert.match(await page.locator("#p-where").textContent(), /^51 to 100 of /);
  assert.deepEqual(said, []);
  await context.close();
}

async function byKeyboard() {
  const { context, page, said } = await open(1280, "dark", "#radiographs");
  const focused = () => page.evaluate(() => document.activeElement.title);
  const [first, second, third] = await names(page);
  // From the beginning of the page by Tab alone.
  for (let presses = 0; (await focused()) !== first; presses++) {
    assert.ok(presses < 40, "Tab comes to the table");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("ArrowDown");
  assert.equal(await focused(), second);
  await page.keyboard.press("Enter");
  assert.ok(await page.locator("#study").isVisible());
  assert.equal(await page.locator("#study-title").textContent(), second);
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.locator("#study-title").textContent(), third);
  await page.keyboard.press("Escape");
  assert.ok(!(await page.locator("#study").isVisible()));
  // The dialog tells of its end after it has gone.
  await page.waitForFunction((title) => document.activeElement.title === title, third);
  assert.deepEqual(said, []);
  await context.close();
}

async function rated() {
  const { context, page, said } = await open(1280, "light", "#scans");
  const row = page.locator("#scan-table tbody tr").filter({ hasText: planted.scan }).first();
  await row.locator(".rating").selectOption("unsure");
  await row.locator(".remark").fill("a\tnote <b>");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#r-save")]);
  const file = await download.path();
  const [head, line] = readFileSync(file, "utf8").split("\n");
  assert.equal(head, "container\tname\tmodel\trating\tnote");
  assert.match(line, /\tunsure\ta note <b>$/);
  await row.locator(".rating").selectOption("");
  await row.locator(".remark").fill("");
  await page.setInputFiles("#r-load", { name: "ratings.tsv", mimeType: "text/plain", buffer: readFileSync(file) });
  await page.waitForFunction(() => document.getElementById("r-said").textContent.startsWith("1 loaded"));
  assert.equal(await row.locator(".rating").inputValue(), "unsure");
  assert.equal(await row.locator(".remark").inputValue(), "a note <b>");
  await page.locator("#scan-table thead button").first().click();
  assert.equal(await page.locator('#scan-table th[aria-sort="ascending"]').count(), 1);
  assert.deepEqual(said, []);
  await context.close();
}

/** Images that lie beside the page are let in by its policy, and are there. */
async function shown() {
  const { page: file, rows: all, heatmaps } = planted.shown;
  const at = pathToFileURL(resolve(file)).href;
  const drawn = (page, where) => page.waitForFunction((where) => {
    const images = [...document.querySelectorAll(where)];
    return images.length > 0 && images.every((image) => image.complete && image.naturalWidth > 0);
  }, where);
  for (const width of [375, 1280]) {
    for (const scheme of ["light", "dark"]) {
      const { context, page, said } = await open(width, scheme, "#radiographs", at);
      assert.equal(await count(page), `${all} radiographs`);
      await page.locator("#rows .thumb img").first().scrollIntoViewIfNeeded();
      await page.waitForFunction(() => document.querySelector("#rows .thumb img").naturalWidth > 0);
      await judge(page, `shown-${width}-${scheme}`);
      await page.screenshot({ path: join(shots, `shown-${width}-${scheme}.png`) });
      await page.locator("#rows .open").first().click();
      await drawn(page, "#study img");
      await judge(page, `shown-dialog-${width}-${scheme}`);
      await page.screenshot({ path: join(shots, `shown-dialog-${width}-${scheme}.png`) });
      const images = await page.locator("#study img").evaluateAll((all) => all.map((one) => one.src));
      assert.equal(images.length, 2, "the radiograph and its heatmap");
      assert.ok(images.every((source) => source.startsWith("file:")), "they lie beside the page");
      assert.deepEqual(said, [], `${width} ${scheme}`);
      await context.close();
    }
  }
  console.log(`${heatmaps} heatmaps beside ${all} radiographs`);
}

/** Two versions held against each other: no script at all. */
async function compared() {
  const at = pathToFileURL(resolve(planted.compared.page)).href;
  for (const width of [375, 1280, 1920]) {
    for (const scheme of ["light", "dark"]) {
      const { context, page, said } = await open(width, scheme, "", at);
      await judge(page, `compared-${width}-${scheme}`);
      assert.equal(await page.evaluate(() => window.hacked), undefined);
      assert.equal(await page.locator("main img, main script").count(), 0);
      assert.ok(await page.locator("figure svg").count() > 0, "reliability is drawn");
      await page.screenshot({ path: join(shots, `compared-${width}-${scheme}.png`) });
      assert.deepEqual(said, [], `${width} ${scheme}`);
      await context.close();
    }
  }
}

async function printed() {
  const { context, page } = await open(1280, "dark", "#radiographs");
  await page.emulateMedia({ media: "print", colorScheme: "light" });
  assert.ok(!(await page.locator("#filters").isVisible()));
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor), "rgb(255, 255, 255)");
  await page.screenshot({ path: join(shots, "print.png") });
  await context.close();
}

/** Milliseconds from the event until the next frame is drawn, the longest of five. */
async function measured() {
  const { context, page } = await open(1280, "light", "#radiographs");
  const time = (what) => page.evaluate(async (what) => {
    const at = (id) => document.getElementById(id);
    const type = (id, value) => { at(id).value = value; at(id).dispatchEvent(new Event("input", { bubbles: true })); };
    const actions = {
      "search one letter": () => type("f-text", "a"),
      "search a name": (nth) => type("f-text", `x0${nth}`),
      "search nothing": () => type("f-text", ""),
      "filter by a label": (nth) => type("f-label", nth % 2 ? "" : "0"),
      "sort by finding": () => document.querySelector('#head [data-column="finding"]').click(),
      "sort by name": () => document.querySelector('#head [data-column="name"]').click(),
      "turn the page": () => at("p-next").click(),
      "open a study": () => document.querySelector("#rows .open").click(),
      "close it": () => at("s-close").click(),
    };
    const times = [];
    for (let nth = 0; nth < 5; nth++) {
      if (what === "close it") document.querySelector("#rows .open").click();
      await new Promise(requestAnimationFrame);
      const start = performance.now();
      actions[what](nth);
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
      times.push(performance.now() - start);
      if (what === "open a study") at("s-close").click();
    }
    return Math.max(...times);
  }, what);
  const figures = {};
  for (const what of ["search one letter", "search a name", "search nothing", "filter by a label", "sort by finding", "sort by name", "turn the page", "open a study", "close it"]) {
    figures[what] = Math.round(await time(what));
  }
  console.log(`milliseconds with ${planted.rows} rows: ${JSON.stringify(figures)}`);
  if (bound) for (const [what, ms] of Object.entries(figures)) assert.ok(ms <= Number(bound), `${what} takes ${ms} ms`);
  await context.close();
}

try {
  for (const part of [byPointer, byKeyboard, rated, printed, shown, compared, everyPart, measured]) {
    await part();
    console.log(`held: ${part.name}`);
  }
} finally {
  await browser.close();
}
