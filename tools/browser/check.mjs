// Opens uploaded files in Chromium: none runs a script, and each is saved under its own name.
//
// node check.mjs <address of the gateway> <folder of samples> <chromium>

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, folder, executablePath] = process.argv.slice(2);
const fail = (text) => {
  throw new Error(text);
};
const json = async (path, options) => {
  const answer = await fetch(base + path, options);
  const body = await answer.json();
  return { status: answer.status, body };
};

const { body: { token } } = await json("/auth/dev-token?user_id=browser&email=browser@example.com", { method: "POST" });
const headers = { Authorization: `Bearer ${token}` };
await json("/api/v1/users/ensure", {
  method: "POST", headers, body: JSON.stringify({ email: "browser@example.com", name: "Browser" }),
});

// The samples of testkit, and texts that are programs. Each would mark the page that runs it.
const mark = "window.ran = document.location.href; document.title = 'ran'; alert('ran');";
const samples = JSON.parse(readFileSync(join(folder, "index.json"))).map((sample) => ({
  ...sample, bytes: readFileSync(join(folder, sample.file)),
}));
for (const name of ["program.txt", "program.csv", "程序 说明.txt", "报告 2026.csv", "it's \"quoted\"; x=y.txt"]) {
  samples.push({ name, declared: null, accepted: true, bytes: Buffer.from(mark) });
}
samples.push({ name: "程序.json", declared: null, accepted: true, bytes: Buffer.from(`{"a": "<script>${mark}</script>"}`) });

const files = [];
for (const { name, declared, accepted, bytes } of samples) {
  const form = new FormData();
  form.append("file", new Blob([bytes], { type: declared ?? "" }), name);
  const { status, body } = await json("/api/v1/users/browser/files/upload", { method: "POST", headers, body: form });
  if (status === 200) {
    const path = encodeURIComponent(body.data.file_path);
    const info = await json(`/api/v1/users/browser/files/info?file_path=${path}`, { headers });
    // The service does not know the port that it was given.
    const { pathname, search } = new URL(info.body.data.download_url);
    files.push({ ...info.body.data, download_url: base + pathname + search, bytes });
  } else if (accepted && !/[\x00-\x1f]/.test(name)) {
    fail(`${name}: ${JSON.stringify(body)}`);
  }
}

// A page of another origin that uses the files in every way that might run them.
const page_of = (url) => `<!doctype html><title>quiet</title><body>
  <script src="${url}"></script><script type="module" src="${url}"></script><link rel="stylesheet" href="${url}">
  <iframe src="${url}"></iframe><embed src="${url}"><object data="${url}"></object><img src="${url}">
  <script>try { new Worker("${url}") } catch {}</script>`;
let html = "";
const server = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end(html)).listen(0, "127.0.0.1");
await new Promise((listening) => server.once("listening", listening));
const elsewhere = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const context = await browser.newContext({ acceptDownloads: true });
let saved = 0;
for (const file of files) {
  const page = await context.newPage();
  page.on("dialog", (dialog) => fail(`${file.filename}: a script ran in ${dialog.page().url()}`));
  // Opened, it is saved and not shown.
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.goto(file.download_url).catch((error) => /download|ERR_ABORTED/i.test(error.message) || fail(error)),
  ]);
  // Chromium replaces what a file system would not take, and what nobody sees.
  const plain = (name) => name.normalize().replace(/[<>:"/\\|?*~\u200b-\u200f\u2060-\u2064\ufeff]/g, "_");
  const [expected, name] = [file.filename, download.suggestedFilename()].map(plain);
  if (name !== expected) fail(`saved as ${name} instead of ${expected}`);
  if (!readFileSync(await download.path()).equals(file.bytes)) fail(`${file.filename}: other bytes were saved`);
  saved += 1;
  // Used by a page, it does nothing.
  html = page_of(file.download_url.replaceAll("&", "&amp;"));
  await page.goto(elsewhere, { waitUntil: "load" });
  const state = await page.evaluate(() => [window.ran ?? null, document.title]);
  if (state[0] !== null || state[1] !== "quiet") fail(`${file.filename}: a script ran: ${state}`);
  for (const frame of page.frames()) {
    if (frame !== page.mainFrame() && frame.url().startsWith(base)) fail(`${file.filename}: is shown in a frame`);
  }
  await page.close();
}
// The check itself finds a script that runs.
const page = await context.newPage();
html = `<!doctype html><title>quiet</title><script>window.ran = 1</script>`;
await page.goto(elsewhere);
if ((await page.evaluate(() => window.ran)) !== 1) fail("a script of the page did not run");
await browser.close();
server.close();
console.log(`browser: ${saved} files were saved under their names, and none ran a script`);
