// Prints what jsQR reads from a grey picture (PGM) on standard input; nothing if it reads
// no QR code. It is called as web pages call it, with the pixels of a canvas.
const picture = require("fs").readFileSync(0);
const header = /^P5 (\d+) (\d+) 255\n/.exec(picture.subarray(0, 64).toString("latin1"));
const [width, height] = [Number(header[1]), Number(header[2])];
const grey = picture.subarray(header[0].length);
const pixels = new Uint8ClampedArray(width * height * 4);
for (let at = 0; at < width * height; at += 1) {
  pixels.fill(grey[at], at * 4, at * 4 + 3);
  pixels[at * 4 + 3] = 255;
}
const code = require("jsqr")(pixels, width, height);
if (code) console.log(code.data);
