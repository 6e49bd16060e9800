// A new user's first minutes.

import assert from "node:assert/strict";

import { ask, boxes, card, picture, script, step } from "./browser.js";

await script({}, async (page) => {
  await step("the page shows the demo's cameras", async () => {
    await page.goto(process.env.PAGE);
    await boxes(page, "yard", 1);
    await boxes(page, "bikes");
  });

  await step("a second camera is added, and its boxes are there", async () => {
    await page.getByRole("button", { name: "Add camera" }).click();
    const dialog = page.locator("dialog");
    await dialog.getByLabel("Name").fill("The street");
    await dialog.getByLabel("Address").fill(process.env.STREET);
    await dialog.getByRole("button", { name: "Test this URL" }).click();
    await dialog.locator(".good").waitFor();
    await dialog.getByRole("button", { name: "Add camera" }).click();
    await boxes(page, "the-street", 1);
    await card(page, "the-street").locator(".badge", { hasText: "Live" }).waitFor();
    await picture(page, "story-added");
  });

  await step("its cable is cut, and the page says so", async () => {
    await ask("cut");
    const street = card(page, "the-street");
    await street.locator(".badge", { hasText: /Retrying|Failed/ }).waitFor();
    await street.locator(".trouble strong", { hasText: /\w/ }).waitFor();
    assert.match(await street.locator(".trouble .reason").textContent(), /\w{3}/);
    await page.locator("header .states", { hasText: /1\s*(retrying|failed)/ }).waitFor();
    await page.locator("#announcer", { hasText: /The street: (Retrying|Failed|Connecting)/ }).waitFor({ state: "attached" });
    await picture(page, "story-cut");
    await card(page, "yard").locator(".badge", { hasText: "Live" }).waitFor();
  });

  await step("it is mended, and goes on", async () => {
    await ask("mend");
    await card(page, "the-street").locator(".badge", { hasText: "Live" }).waitFor();
    await card(page, "the-street").locator(".trouble").waitFor({ state: "hidden" });
  });
});
