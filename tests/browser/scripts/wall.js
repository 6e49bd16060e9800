// An open server: the camera "yard" shows people, "gate" cannot be reached; both are of its settings file.

import assert from "node:assert/strict";

import { ask, assertAccessible, assertNarrow, boxes, card, open, picture, script, snapshot, step } from "./browser.js";

/** The share of their common area that two boxes have in common. */
function overlap(a, b) {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const area = (box) => (box.x2 - box.x1) * (box.y2 - box.y1);
  return (width * height) / (area(a) + area(b) - width * height);
}

/** The boxes that a camera's large picture shows, and that very picture without them. */
async function withAndWithoutBoxes(page) {
  return page.evaluate(() => {
    const canvas = document.querySelector(".detail canvas");
    const slider = document.getElementById("least-score");
    const set = (value) => {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    };
    set(0);
    const boxes = JSON.parse(canvas.dataset.boxes);
    set(95);
    const left = JSON.parse(canvas.dataset.boxes).length;
    const jpeg = canvas.toDataURL("image/jpeg", 0.95).split(",")[1];
    set(0);
    return { boxes, left, jpeg };
  });
}

/** The share of boxes whose lower edge has their class's colour in the middle. */
async function coloured(page, id) {
  return page.evaluate((camera) => {
    const canvas = document.querySelector(`[data-camera="${camera}"] canvas`);
    const boxes = JSON.parse(canvas.dataset.boxes);
    const context = canvas.getContext("2d");
    const good = boxes.filter(({ x1, x2, y2, colour }) => {
      const wanted = colour.match(/\d+/g).map(Number);
      const [x, y] = [Math.round((x1 + x2) / 2), Math.min(Math.round(y2), canvas.height - 1)];
      const rows = [-1, 0, 1].map((row) => context.getImageData(x, y + row, 1, 1).data);
      return rows.some((pixel) => wanted.every((value, index) => Math.abs(value - pixel[index]) < 40));
    });
    return good.length / boxes.length;
  }, id);
}

/** Waits until the server has so many views open. */
async function viewers(page, wanted) {
  for (let tries = 0; (await ask("viewers")) !== wanted; tries += 1) {
    assert.ok(tries < 100, `not ${wanted} views, but ${await ask("viewers")}`);
    await page.waitForTimeout(100);
  }
}

await script({}, async (page, browser) => {
  await step("from opening the page to the first boxes", async () => {
    await page.goto(process.env.PAGE);
    await boxes(page, "yard", 1);
  });

  await step("boxes have the colours of their classes", async () => {
    assert.ok((await boxes(page, "yard", 3)).some(({ label }) => label === "person"));
    assert.ok((await coloured(page, "yard")) > 0.7);
    // Reading pixels is the test's doing.
    page.forgive(/willReadFrequently/);
    await card(page, "yard").locator(".badge", { hasText: "Live" }).waitFor();
    assert.match(
      await card(page, "yard").locator("canvas").getAttribute("aria-label"),
      /Live picture of The yard: \d+ person/,
    );
  });

  await step("a camera that cannot be reached says why, and when it is tried again", async () => {
    const gate = card(page, "gate");
    await gate.locator(".trouble", { hasText: "127.0.0.1 refuses connections on port 9" }).waitFor();
    await gate.locator(".trouble", { hasText: /Next try in \d+ s|Trying again now/ }).waitFor();
    await gate.locator(".badge", { hasText: /Retrying|Failed|Connecting/ }).waitFor();
    assert.ok(!(await page.content()).includes("hunter2"));
    await page.locator("header .states", { hasText: /1\s*live.*1\s*retrying/s }).waitFor();
    await picture(page, "wall-dark");
    await assertAccessible(page, "the wall, dark");
  });

  await step("boxes lie over what the picture shows", async () => {
    await card(page, "yard").locator(".title").click();
    await page.locator(".detail canvas").waitFor();
    await boxes(page, "yard", 3);
    const { boxes: drawn, left, jpeg } = await withAndWithoutBoxes(page);
    assert.equal(left, 0, "over a least score of 95 % there is nothing");
    const found = JSON.parse(await ask("detect", jpeg)).filter(
      ({ label, score }) => label === "person" && score > 0.45,
    );
    assert.ok(found.length >= 2, `${found.length} people found again in the picture`);
    const met = found.filter((one) => drawn.some((box) => box.label === "person" && overlap(one, box) > 0.5));
    assert.ok(met.length >= found.length * 0.7, JSON.stringify({ found, drawn }));
  });

  await step("a camera of the settings file is read-only, and says so", async () => {
    await page.getByText("defined in the server's settings file").waitFor();
    for (const name of ["Edit", "Turn off", "Remove"])
      assert.ok(await page.getByRole("button", { name }).isDisabled(), name);
  });

  await step("classes are left out at once, events and history are told", async () => {
    await page.locator(".filter .chip", { hasText: "person" }).locator("input").uncheck();
    const labels = await page
      .locator(".detail canvas")
      .evaluate((canvas) => JSON.parse(canvas.dataset.boxes).map((box) => box.label));
    assert.ok(!labels.includes("person"), labels.join());
    await page.locator(".events", { hasText: "Live: frames arrive" }).waitFor();
    await page.locator(".filter .chip", { hasText: "person" }).locator("input").check();
    await page.locator(".events", { hasText: /person appeared \(\d+ %\)/ }).waitFor();
    await page.locator(".sparkline svg[aria-label*='last ten minutes']").first().waitFor();
    await picture(page, "camera-dark");
    await assertAccessible(page, "a camera, dark");
    assert.equal(await snapshot(page), "yard.jpg");
  });

  await step("an address is tried: a good one shows its picture, a bad one says why", async () => {
    await page.keyboard.press("Escape");
    await card(page, "yard").waitFor();
    await page.getByRole("button", { name: "Add camera" }).click();
    const dialog = page.locator("dialog");
    await dialog.getByLabel("Address").fill("rtsp://127.0.0.1:9/nobody");
    await dialog.getByRole("button", { name: "Test this URL" }).click();
    await dialog.locator(".bad", { hasText: "Cannot be reached" }).waitFor();
    await dialog.getByLabel("Address").fill(process.env.STREET);
    await dialog.getByRole("button", { name: "Test this URL" }).click();
    await dialog.locator(".good", { hasText: "768 × 576" }).waitFor();
    assert.ok((await dialog.locator("img").evaluate((image) => image.decode().then(() => image.naturalWidth))) > 0);
    await dialog.locator("summary").click();
    await picture(page, "dialog-dark");
    await assertAccessible(page, "the dialog, dark");
    await dialog.getByLabel("Address").fill("gopher://10.0.0.9/");
    await dialog.getByLabel("Id", { exact: true }).fill("bad");
    await dialog.getByRole("button", { name: "Add camera" }).click();
    await dialog.locator('[data-field="url"] .error', { hasText: /\w/ }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "camera-url");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
  });

  await step("a camera is added by keyboard alone and goes live", async () => {
    await page.keyboard.press("a");
    await page.locator("dialog").waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.type("Street 2");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.value), "street-2");
    await page.keyboard.press("Tab");
    await page.keyboard.type(process.env.STREET);
    await page.keyboard.press("Enter");
    await boxes(page, "street-2", 1);
    await card(page, "street-2").locator(".badge", { hasText: "Live" }).waitFor();
  });

  await step("the keys lead from camera to camera, in and out", async () => {
    const focused = () => page.evaluate(() => document.activeElement.closest(".card, .detail")?.dataset.camera);
    assert.equal(await focused(), "street-2");
    await page.keyboard.press("Home");
    assert.equal(await focused(), "gate");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await page.locator('.detail[data-camera="street-2"]').waitFor();
    await page.keyboard.press("Escape");
    await card(page, "street-2").waitFor();
    assert.equal(await focused(), "street-2");
  });

  await step("a camera is changed, turned off and removed", async () => {
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Edit" }).click();
    const dialog = page.locator("dialog");
    await dialog.locator("summary").click();
    await dialog.getByLabel("Least score").fill("7");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.locator('[data-field="min_score"] .error', { hasText: /\w/ }).waitFor();
    await dialog.getByLabel("Least score").fill("0.4");
    await dialog.getByLabel("Name").fill("Second street");
    await dialog.getByRole("button", { name: "Save" }).click();
    await page.locator("h1", { hasText: "Second street" }).waitFor();
    await page.locator(".settings", { hasText: "0.4" }).waitFor();
    await page.getByRole("button", { name: "Turn off" }).click();
    await page.locator(".crumbs .badge", { hasText: "Off" }).waitFor();
    await page.getByRole("button", { name: "Turn on" }).click();
    await page.locator(".crumbs .badge", { hasText: "Live" }).waitFor();
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Remove" }).click();
    await card(page, "yard").waitFor();
    await card(page, "street-2").waitFor({ state: "detached" });
  });

  await step("the models tell what they find and how fast", async () => {
    await page.getByRole("link", { name: "Models" }).click();
    const model = page.locator('[data-model="coco"]');
    await model.getByText("frames/s").first().waitFor();
    assert.match(await model.textContent(), /Finds \(80\).*person, bicycle, car/);
    await picture(page, "models-dark");
    await assertAccessible(page, "the models, dark");
  });

  await step("light", async () => {
    await page.keyboard.press("t");
    await page.getByRole("link", { name: "Cameras", exact: true }).click();
    await boxes(page, "yard");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
    await picture(page, "wall-light");
    await assertAccessible(page, "the wall, light");
    await page.reload();
    await boxes(page, "yard");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light", "it is kept");
    await card(page, "yard").locator(".title").click();
    await page.locator(".detail canvas").waitFor();
    await boxes(page, "yard");
    await assertAccessible(page, "a camera, light");
  });

  await step("a phone's width", async () => {
    const phone = await open(browser, { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true });
    for (const [hash, what] of [
      ["#/", ".card"],
      ["#/camera/yard", ".detail"],
      ["#/models", ".model"],
    ]) {
      await phone.goto(process.env.PAGE + hash);
      await phone.locator(what).first().waitFor();
      if (hash !== "#/models") await boxes(phone, "yard");
      await picture(phone, `phone${hash.replaceAll(/[#/]+/g, "-")}`);
      await assertNarrow(phone, hash);
    }
    await phone.getByRole("button", { name: "Add camera" }).click();
    await phone.locator("dialog summary").click();
    await assertNarrow(phone, "the dialog");
    phone.assertClean();
    await phone.close();
  });

  await step("a page that nobody looks at watches nothing", async () => {
    await page.goto(`${process.env.PAGE}#/`);
    await boxes(page, "yard");
    await viewers(page, "2");
    await page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await viewers(page, "0");
    await page.evaluate(() => {
      delete document.hidden;
      document.dispatchEvent(new Event("visibilitychange"));
    });
    await boxes(page, "yard");
  });

  await step("a server that does not answer is told of, and its return", async () => {
    await ask("freeze");
    await page.locator("#banner", { hasText: "The server is away" }).waitFor();
    await picture(page, "away");
    await ask("thaw");
    await page.locator("#banner").waitFor({ state: "hidden" });
    await page.locator("[data-camera='yard'] canvas").evaluate((canvas) => canvas.removeAttribute("data-boxes"));
    await boxes(page, "yard");
  });
});
