// Says what Renovate's own code makes of a file when an image moves: tag and digest.
// Usage: node renovate_moves.mjs FOLDER_OF_RENOVATE FOLDER_OF_THE_LAB < dependencies, a line of JSON each:
//   {"manager", "packageFile", "newValue", "newDigest", and what Renovate extracted}
// Answers a line each: {"pinDigests", "content"}; no content where Renovate cannot write it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [renovate, lab] = process.argv.slice(2);
const { GlobalConfig } = await import(`${renovate}/dist/config/global.js`);
const { applyPackageRules } = await import(`${renovate}/dist/util/package-rules/index.js`);
const { doAutoReplace } = await import(`${renovate}/dist/workers/repository/update/branch/auto-replace.js`);
const { packageRules } = JSON.parse(readFileSync(join(lab, 'renovate.json'), 'utf8'));
GlobalConfig.set({ localDir: lab });

for (const line of readFileSync(0, 'utf8').trim().split('\n')) {
  const dependency = JSON.parse(line);
  const { pinDigests = false } = await applyPackageRules({ ...dependency, packageRules });
  const upgrade = { ...dependency, isPinDigest: !dependency.currentDigest };
  let content = null;
  try {
    content = await doAutoReplace(upgrade, readFileSync(join(lab, dependency.packageFile), 'utf8'), false);
  } catch {}
  console.log(JSON.stringify({ pinDigests, content }));
}
