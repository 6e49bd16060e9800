// What the scripts share: a browser, a page that nothing may be wrong with, and questions to the test that runs them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.PACKAGES}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** Milliseconds for anything to come about. */
export const PATIENCE = 20_000;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test for something that only it can do; the answer is a line. */
export async function ask(...words) {
  console.log("?", ...words);
  return (await answers.next()).value;
}

/** A step of the script, with its time. */
export async function step(name, run) {
  const begin = performance.now();
  await run();
  console.log(`  ${name}: ${((performance.now() - begin) / 1000).toFixed(1)} s`);
}

/** Runs a script with a page, and ends with an error if it fails or anything was wrong with the page. */
export async function script(options, run) {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
  try {
    const page = await open(browser, options);
    await run(page, browser).catch(async (error) => {
      await picture(page, "failure").catch(() => {});
      throw error;
    });
    page.assertClean();
  } finally {
    await browser.close();
  }
  process.exit(0);
}

/** A page on which errors of scripts, refusals of the security policy and requests to elsewhere are noted. */
export async function open(browser, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark", ...options });
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrong.push(message.text()));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(process.env.PAGE) && !url.startsWith("blob:")) wrong.push(`request to ${url}`);
  });
  // What is wrong on purpose is taken out of the list by a pattern.
  page.forgive = (pattern) => {
    const rest = wrong.filter((text) => !pattern.test(text));
    wrong.splice(0, wrong.length, ...rest);
  };
  page.assertClean = () => assert.deepEqual(wrong, []);
  return page;
}

/** Keeps a picture of the page for people. */
export const picture = (page, name) => page.screenshot({ path: `${process.env.PICTURES}/${name}.png` });

/** The card of a camera on the wall. */
export const card = (page, id) => page.locator(`.card[data-camera="${id}"]`);

/** Waits until a camera's canvas shows a picture with at least so many boxes; returns them. */
export async function boxes(page, id, least = 0) {
  // Looked up each time: a page that changes its view has another canvas for the camera.
  const shown = await page.waitForFunction(
    ([selector, count]) => {
      const boxes = JSON.parse(document.querySelector(selector)?.dataset.boxes ?? "null");
      return boxes && boxes.length >= count ? boxes : null;
    },
    [`[data-camera="${id}"] canvas`, least],
  );
  return shown.jsonValue();
}

/** The name of the file that the button "Snapshot" gives. A machine with much to do makes pictures last: patience. */
export async function snapshot(page) {
  for (let tries = 1; ; tries += 1) {
    const download = page.waitForEvent("download", { timeout: PATIENCE / 2 }).catch(() => null);
    await page.getByRole("button", { name: "Snapshot" }).click();
    const file = await download;
    if (file) return file.suggestedFilename();
    assert.ok(tries < 4, await page.locator(".main > .error").textContent());
    page.forgive(/503/);
  }
}

/** Fails if a screen reader's user would meet a serious obstacle. */
export async function assertAccessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const told = serious.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => html + failureSummary)}`,
  );
  assert.deepEqual(told, [], where);
}

/** Fails if the page must be scrolled to the side. */
export async function assertNarrow(page, where) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${where} is ${content} pixels wide in ${window}`);
}
