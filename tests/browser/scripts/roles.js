// A server that asks for tokens. READ may look, OPERATE may change.

import assert from "node:assert/strict";

import { assertAccessible, boxes, card, picture, script, snapshot, step } from "./browser.js";

const { READ, OPERATE } = process.env;

async function signIn(page, token) {
  await page.getByRole("textbox", { name: "Token" }).fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function add(page, id) {
  await page.getByRole("button", { name: "Add camera" }).click();
  const dialog = page.locator("dialog");
  await dialog.getByLabel("Id", { exact: true }).fill(id);
  await dialog.getByLabel("Address").fill("test://ball?width=320&height=240&fps=10");
  await dialog.getByRole("button", { name: "Add camera" }).click();
  return dialog;
}

await script({}, async (page) => {
  await step("the page asks for a token", async () => {
    await page.goto(process.env.PAGE);
    await page.locator("dialog", { hasText: "This server asks for a token" }).waitFor();
    await picture(page, "token");
    await assertAccessible(page, "the question for a token");
  });

  await step("a wrong one is refused in words", async () => {
    await signIn(page, `${READ}x`);
    await page.locator("dialog .error", { hasText: "not known to this server" }).waitFor();
    assert.equal(await page.locator(".card").count(), 0);
  });

  await step("a right one lets in, and a reload does not ask again", async () => {
    await signIn(page, READ);
    await boxes(page, "ball", 1);
    await page.reload();
    await boxes(page, "ball", 1);
    assert.equal(await page.locator("dialog").count(), 0);
  });

  await step("who may only read is told so, and cannot change anything", async () => {
    const dialog = await add(page, "second");
    await dialog.getByText("needs the role operate").waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    assert.ok(await page.getByRole("button", { name: "Add camera" }).isDisabled());
    assert.match(await page.getByRole("button", { name: "Add camera" }).getAttribute("title"), /role operate/);
    await card(page, "ball").locator(".title").click();
    assert.equal(await snapshot(page), "ball.jpg");
    await page.keyboard.press("Escape");
  });

  await step("who may operate adds, and has the camera's first picture", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.locator("dialog", { hasText: "asks for a token" }).waitFor();
    await signIn(page, OPERATE);
    await card(page, "ball").waitFor();
    await add(page, "second");
    await boxes(page, "second", 1);
    await card(page, "second").locator(".badge", { hasText: "Live" }).waitFor();
  });
});
