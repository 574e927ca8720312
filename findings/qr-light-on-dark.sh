#!/usr/bin/env bash
# zbar's zbarimg reads a QR code that is dark on light, and does not find the same code
# light on dark, which is how a terminal with dark colours shows it where a program draws
# the dark modules with ink. zxing-cpp, a reader of the kind that phones have, reads both.
. "$(dirname "$0")/common.sh"
debs libzbar0=0.23.92-7+deb12u1 libdbus-1-3 libjpeg62-turbo libv4l-0 libv4lconvert0 libx11-6 \
    libxcb1 libxau6 libxdmcp6 libbsd0 libmd0 libxv1 libxext6
python qrcode==8.0 pillow==11.1.0 pyzbar==0.1.9 zxing-cpp==2.3.0
cat > find.py <<'PY'
import ctypes.util
ctypes.util.find_library = lambda name: "libzbar.so.0"
import qrcode, zxingcpp
from PIL import ImageOps
from pyzbar import pyzbar

code = qrcode.QRCode(error_correction=qrcode.ERROR_CORRECT_L, border=4)
code.add_data("otpauth://totp/host:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=host")
usual = code.make_image().get_image().convert("L")
for name, picture in [("dark on light", usual), ("light on dark", ImageOps.invert(usual))]:
    read = [len(pyzbar.decode(picture)), len(zxingcpp.read_barcodes(picture))]
    print(name, *["zbar" * min(read[0], 1) or "-", "zxing" * min(read[1], 1) or "-"])
PY
py/bin/python find.py > seen
same "who reads the usual code" "dark on light zbar zxing" "$(sed -n 1p seen)"
same "and its negative" "light on dark - zxing" "$(sed -n 2p seen)"
