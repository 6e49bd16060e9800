// Eight cameras: how soon they are there, and what they take of the network.

import assert from "node:assert/strict";

import { ask, boxes, picture, script, step } from "./browser.js";

const SECONDS = 6;

await script({ viewport: { width: 1440, height: 860 } }, async (page) => {
  const cards = page.locator(".card");
  await step("from opening the page to the first boxes", async () => {
    await page.goto(process.env.PAGE);
    await page.waitForFunction(() =>
      [...document.querySelectorAll("canvas")].some((canvas) => (canvas.dataset.boxes ?? "[]") !== "[]"));
  });

  await step("and to all eight pictures", async () => {
    const ids = await cards.evaluateAll((all) => all.map((one) => one.dataset.camera));
    assert.equal(ids.length, 8);
    for (const id of ids) await boxes(page, id);
    assert.equal(await ask("viewers"), "8");
  });

  await step("all of them can be seen at once", async () => {
    const lowest = await cards.evaluateAll((all) => Math.max(...all.map((one) => one.getBoundingClientRect().bottom)));
    assert.ok(lowest <= 860, `the last ends at ${lowest}`);
  });

  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  let bytes = 0;
  session.on("Network.dataReceived", ({ dataLength }) => (bytes += dataLength));
  const sequences = () => Object.fromEntries(
    [...document.querySelectorAll(".card")].map((one) => [one.dataset.camera, Number(one.querySelector("canvas").dataset.sequence)]));
  const before = await page.evaluate(sequences);
  await page.waitForTimeout(SECONDS * 1000);
  console.log(`  the page with eight cameras takes ${Math.round(bytes / SECONDS / 1000)} kB/s`);

  await step("every picture goes on", async () => {
    await page.waitForFunction((old) => Object.entries(old).every(([id, sequence]) =>
      Number(document.querySelector(`[data-camera="${id}"] canvas`).dataset.sequence) > sequence), before);
    await picture(page, "eight");
  });
});
