// Builds dist/ from src/: `npm run build`. The output is committed and depends on nothing but package-lock.json, so
// CI rebuilds it and compares. With --test it bundles src/*.test.ts for `npm test` instead.
import { build } from "esbuild";
import { cpSync, mkdirSync, readdirSync, rmSync } from "node:fs";

const common = { bundle: true, format: "esm", target: "es2022", charset: "utf8", logLevel: "warning" };

if (process.argv.includes("--test")) {
  const tests = readdirSync("src").filter((f) => f.endsWith(".test.ts")).map((f) => "src/" + f);
  rmSync("node_modules/.tests", { recursive: true, force: true });
  await build({ ...common, entryPoints: tests, outdir: "node_modules/.tests", outExtension: { ".js": ".mjs" }, platform: "node" });
} else {
  rmSync("dist", { recursive: true, force: true });
  mkdirSync("dist/assets", { recursive: true });
  await build({
    ...common, entryPoints: { console: "src/main.ts", style: "src/style.css" }, outdir: "dist/assets", minify: true,
    legalComments: "none", loader: { ".woff2": "file" }, assetNames: "[name]",
  });
  cpSync("src/index.html", "dist/index.html");
  cpSync("src/favicon.svg", "dist/assets/favicon.svg");
  cpSync("node_modules/@fontsource-variable/atkinson-hyperlegible-next/LICENSE", "dist/assets/FONT-LICENSE");
}
