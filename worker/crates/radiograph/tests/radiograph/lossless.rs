//! A lossless JPEG encoder (ITU-T T.81 annex H) that shares no code with the decoder: every predictor, precision, point
//! transform and restart interval. Held once against GDCM, libjpeg and pydicom's decoders.

/// What a file is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Lossless {
    pub width: u16,
    pub height: u16,
    pub precision: u8,
    /// 1 to 7.
    pub predictor: u8,
    pub point_transform: u8,
    /// Rows between restart markers; 0 for none.
    pub restart_rows: u16,
}

impl Lossless {
    pub fn new(width: u16, height: u16, precision: u8) -> Self {
        Self { width, height, precision, predictor: 1, point_transform: 0, restart_rows: 0 }
    }

    /// What a decoder gives for `samples`: the point transform drops bits.
    pub fn kept(&self, samples: &[u16]) -> Vec<u16> {
        samples.iter().map(|sample| sample >> self.point_transform << self.point_transform).collect()
    }

    /// One flat Huffman table: five bits name the category.
    pub fn encode(&self, samples: &[u16]) -> Vec<u8> {
        let mut out = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 11, self.precision];
        out.extend(self.height.to_be_bytes());
        out.extend(self.width.to_be_bytes());
        out.extend([1, 1, 0x11, 0]);
        out.extend([0xFF, 0xC4, 0, 36, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(0..=16u8);
        if self.restart_rows > 0 {
            out.extend([0xFF, 0xDD, 0, 4]);
            out.extend((self.restart_rows * self.width).to_be_bytes());
        }
        out.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, self.predictor, 0, self.point_transform]);
        let rows: Vec<Vec<u16>> = samples
            .chunks(self.width.into())
            .map(|row| row.iter().map(|sample| sample >> self.point_transform).collect())
            .collect();
        let interval = if self.restart_rows > 0 { self.restart_rows.into() } else { rows.len() };
        for (index, rows) in rows.chunks(interval).enumerate() {
            if index > 0 {
                out.extend([0xFF, 0xD0 + (index as u8 - 1) % 8]);
            }
            self.interval(rows, &mut out);
        }
        out.extend([0xFF, 0xD9]);
        out
    }

    /// The rows from one restart to the next: the first is predicted from the left alone.
    fn interval(&self, rows: &[Vec<u16>], out: &mut Vec<u8>) {
        let mut bits = Bits::default();
        for (y, row) in rows.iter().enumerate() {
            for (x, &sample) in row.iter().enumerate() {
                let at = |x: usize, y: usize| i32::from(rows[y][x]);
                let prediction = match (x, y) {
                    (0, 0) => 1 << (self.precision - self.point_transform - 1),
                    (_, 0) => at(x - 1, 0),
                    (0, _) => at(0, y - 1),
                    _ => self.predict(at(x - 1, y), at(x, y - 1), at(x - 1, y - 1)),
                };
                bits.difference((i32::from(sample) - prediction) as i16, out);
            }
        }
        bits.close(out);
    }

    fn predict(&self, left: i32, above: i32, corner: i32) -> i32 {
        match self.predictor {
            1 => left,
            2 => above,
            3 => corner,
            4 => left + above - corner,
            5 => left + ((above - corner) >> 1),
            6 => above + ((left - corner) >> 1),
            _ => (left + above) >> 1,
        }
    }
}

#[derive(Default)]
struct Bits {
    buffer: u64,
    filled: u32,
}

impl Bits {
    fn put(&mut self, value: u32, bits: u32, out: &mut Vec<u8>) {
        self.buffer = self.buffer << bits | u64::from(value);
        self.filled += bits;
        while self.filled >= 8 {
            self.filled -= 8;
            let byte = (self.buffer >> self.filled) as u8;
            out.push(byte);
            if byte == 0xFF {
                out.push(0);
            }
        }
    }

    /// The category, then the difference in as many bits; a negative one less one (T.81 table H.2).
    fn difference(&mut self, difference: i16, out: &mut Vec<u8>) {
        if difference == i16::MIN {
            return self.put(16, 5, out);
        }
        let category = 16 - difference.unsigned_abs().leading_zeros();
        self.put(category, 5, out);
        if category > 0 {
            let bits = i32::from(difference) - i32::from(difference < 0);
            self.put(bits as u32 & ((1 << category) - 1), category, out);
        }
    }

    /// Ones up to the next byte.
    fn close(&mut self, out: &mut Vec<u8>) {
        if !self.filled.is_multiple_of(8) {
            let rest = 8 - self.filled;
            self.put((1 << rest) - 1, rest, out);
        }
    }
}
